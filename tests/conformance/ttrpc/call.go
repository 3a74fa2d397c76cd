package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// caller is a client of a server under test, and the tally of the checks.
type caller struct {
	client *ttrpc.Client
	failed int
}

func (c *caller) check(name string, err error) {
	if err == nil {
		fmt.Println("ok go-client:", name)
		return
	}
	c.failed++
	fmt.Printf("not ok go-client: %s: %v\n", name, err)
}

func (c *caller) unary(ctx context.Context, method, in string) (string, error) {
	out := text("")
	err := c.client.Call(ctx, service, method, text(in), out)
	return out.Value, err
}

// same compares what came with what should have come.
func same(got string, err error, want string) error {
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("got %.80q, want %.80q", got, want)
	}
	return nil
}

func sameStatus(err error, code codes.Code, message string) error {
	s, ok := status.FromError(err)
	if err == nil || !ok || s.Code() != code || s.Message() != message {
		return fmt.Errorf("got %v, want %v %q", err, code, message)
	}
	return nil
}

func (c *caller) unaryCalls() {
	ctx := context.Background()
	for name, in := range map[string]string{"echo": "hello", "an empty message": "", "3 MiB": strings.Repeat("x", 3<<20)} {
		got, err := c.unary(ctx, "Echo", in)
		c.check("unary: "+name, same(got, err, in))
	}
	_, err := c.unary(ctx, "Fail", "x")
	c.check("an error has its code and text", sameStatus(err, codes.NotFound, `thing "x": not found`))
	_, err = c.unary(ctx, "Nope", "")
	c.check("an unknown method", sameStatus(err, codes.Unimplemented, "method Nope"))
	err = c.client.Call(ctx, "interop.Other", "Echo", text(""), text(""))
	c.check("an unknown service", sameStatus(err, codes.Unimplemented, "service interop.Other"))
	_, err = c.unary(ctx, "Big", "4194304")
	c.check("an answer over the limit", sameStatus(err, codes.ResourceExhausted,
		"message length 4194314 exceed maximum message size of 4194304"))
	got, err := c.unary(ctx, "Big", "4194290")
	c.check("an answer just below the limit", same(strconv.Itoa(len(got)), err, "4194290"))

	md := ttrpc.MD{}
	md.Append("key", "a", "b")
	got, err = c.unary(ttrpc.WithMetadata(ctx, md), "Meta", "key")
	c.check("metadata keeps several values", same(got, err, "a,b"))
}

func (c *caller) deadlines() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got, err := c.unary(ctx, "Left", "")
	if ms, bad := strconv.Atoi(got); err == nil && (bad != nil || ms <= 0 || ms > 10000) {
		err = fmt.Errorf("server saw %q ms", got)
	}
	c.check("the server knows the deadline", err)
	got, err = c.unary(context.Background(), "Left", "")
	c.check("no deadline is none", same(got, err, "none"))

	short, cancelShort := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancelShort()
	_, err = c.unary(short, "Park", "")
	// Whoever is first, the client's own clock or the server's answer.
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		err = nil
	} else {
		err = fmt.Errorf("got %v", err)
	}
	c.check("a deadline that passes", err)
	got, err = c.unary(context.Background(), "Echo", "after")
	c.check("the connection lives on after a deadline", same(got, err, "after"))
}

func (c *caller) concurrentCalls() {
	var wait sync.WaitGroup
	errs := make(chan error, 1000)
	for i := range 1000 {
		wait.Go(func() {
			got, err := c.unary(context.Background(), "Echo", fmt.Sprint("call ", i))
			if err = same(got, err, fmt.Sprint("call ", i)); err != nil {
				errs <- err
			}
		})
	}
	wait.Wait()
	close(errs)
	c.check("1000 calls at once", errors.Join(<-errs))
}

// stream opens a call, sends, and reads to the end.
func (c *caller) stream(method string, desc *ttrpc.StreamDesc, request interface{}, send ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := c.client.NewStream(ctx, desc, service, method, request)
	if err != nil {
		return "", err
	}
	for _, s := range send {
		if err := stream.SendMsg(text(s)); err != nil {
			return "", err
		}
	}
	if desc.StreamingClient {
		if err := stream.CloseSend(); err != nil {
			return "", err
		}
	}
	var got []string
	for {
		out := text("")
		if err := stream.RecvMsg(out); err == io.EOF {
			return strings.Join(got, " "), nil
		} else if err != nil {
			return strings.Join(got, " "), err
		}
		got = append(got, out.Value)
		if !desc.StreamingServer {
			return got[0], nil
		}
	}
}

func (c *caller) streams() {
	out := &ttrpc.StreamDesc{StreamingServer: true}
	in := &ttrpc.StreamDesc{StreamingClient: true}
	both := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
	got, err := c.stream("Thrice", out, text("m"))
	c.check("server stream", same(got, err, "m0 m1 m2"))
	got, err = c.stream("Thrice", out, text(""))
	c.check("server stream of an empty request", same(got, err, "0 1 2"))
	got, err = c.stream("Join", in, nil, "a", "", "c")
	c.check("client stream", same(got, err, "a..c."))
	got, err = c.stream("Join", in, nil)
	c.check("client stream without a message", same(got, err, ""))
	got, err = c.stream("Chat", both, nil, "a", "b", "c")
	c.check("both ways", same(got, err, "a b c"))
	got, err = c.stream("Chat", both, nil, "a", "stop")
	c.check("a stream that fails", sameStatus(err, codes.Aborted, "stopped: aborted"))
	c.check("what came before the failure", same(got, nil, "a"))
	_, err = c.stream("Nope", both, nil)
	c.check("an unknown stream method", sameStatus(err, codes.Unimplemented, "method Nope"))
	got, err = c.unary(context.Background(), "Echo", "after")
	c.check("the connection lives on after streams", same(got, err, "after"))
}

func (c *caller) end() {
	done := make(chan error, 1)
	go func() {
		_, err := c.unary(context.Background(), "Park", "")
		done <- err
	}()
	_, err := c.unary(context.Background(), "Exit", "")
	if !errors.Is(err, ttrpc.ErrClosed) {
		c.check("the server goes in the middle of a call", fmt.Errorf("got %v", err))
		return
	}
	if err = <-done; errors.Is(err, ttrpc.ErrClosed) {
		err = nil
	} else {
		err = fmt.Errorf("parked call got %v", err)
	}
	c.check("the server goes in the middle of a call", err)
}

func call(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	c := &caller{client: ttrpc.NewClient(conn)}
	c.unaryCalls()
	c.deadlines()
	c.concurrentCalls()
	c.streams()
	c.end()
	if c.failed > 0 {
		return fmt.Errorf("%d checks failed", c.failed)
	}
	return nil
}
