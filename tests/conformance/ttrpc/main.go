// The Go side of the ttrpc interop test: a server and a client made with the Go implementation.
//
//	peer serve SOCKET   serves interop.Test until stdin ends; prints "ready" when it listens
//	peer call SOCKET    calls a server of interop.Test and prints a line per check
//
// Messages are google.protobuf.StringValue throughout.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "interop.Test"

func text(s string) *wrapperspb.StringValue { return &wrapperspb.StringValue{Value: s} }

// unary wraps a function on strings as a method.
func unary(f func(ctx context.Context, in string) (string, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(interface{}) error) (interface{}, error) {
		in := text("")
		if err := unmarshal(in); err != nil {
			return nil, err
		}
		out, err := f(ctx, in.Value)
		if err != nil {
			return nil, err
		}
		return text(out), nil
	}
}

func echo(_ context.Context, in string) (string, error) { return in, nil }

func fail(_ context.Context, in string) (string, error) {
	return "", status.Errorf(codes.NotFound, "thing %q: not found", in)
}

func park(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// left tells how many milliseconds the caller's deadline leaves, or "none".
func left(ctx context.Context, _ string) (string, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return "none", nil
	}
	return strconv.FormatInt(time.Until(deadline).Milliseconds(), 10), nil
}

func meta(ctx context.Context, in string) (string, error) {
	values, _ := ttrpc.GetMetadata(ctx)
	found, _ := values.Get(in)
	return strings.Join(found, ","), nil
}

func big(_ context.Context, in string) (string, error) {
	size, err := strconv.Atoi(in)
	return strings.Repeat("b", size), err
}

func exit(context.Context, string) (string, error) {
	os.Exit(0)
	return "", nil
}

func thrice(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	in := text("")
	if err := stream.RecvMsg(in); err != nil {
		return nil, err
	}
	for i := range 3 {
		if err := stream.SendMsg(text(fmt.Sprint(in.Value, i))); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func join(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	all := ""
	for {
		in := text("")
		if err := stream.RecvMsg(in); err == io.EOF {
			return text(all), nil
		} else if err != nil {
			return nil, err
		}
		all += in.Value + "."
	}
}

func chat(_ context.Context, stream ttrpc.StreamServer) (interface{}, error) {
	for {
		in := text("")
		if err := stream.RecvMsg(in); err == io.EOF {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if in.Value == "stop" {
			return nil, status.Error(codes.Aborted, "stopped: aborted")
		}
		if err := stream.SendMsg(in); err != nil {
			return nil, err
		}
	}
}

func serve(path string) error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			"Echo": unary(echo), "Fail": unary(fail), "Park": unary(park), "Left": unary(left), "Meta": unary(meta),
			"Big": unary(big), "Exit": unary(exit),
		},
		Streams: map[string]ttrpc.Stream{
			"Thrice": {Handler: thrice, StreamingServer: true},
			"Join":   {Handler: join, StreamingClient: true},
			"Chat":   {Handler: chat, StreamingClient: true, StreamingServer: true},
		},
	})
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("ready")
	err = server.Serve(context.Background(), listener)
	if errors.Is(err, ttrpc.ErrServerClosed) {
		return nil
	}
	return err
}

func main() {
	if len(os.Args) != 3 || (os.Args[1] != "serve" && os.Args[1] != "call") {
		fmt.Fprintln(os.Stderr, "usage: peer serve|call SOCKET")
		os.Exit(2)
	}
	run := serve
	if os.Args[1] == "call" {
		run = call
	}
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
