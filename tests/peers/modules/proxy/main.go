// proxy serves snapshots, content and diffs over a unix socket with containerd's own libraries, as proxy plugins do.
//
// Usage: proxy SOCKET DIRECTORY
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/diffservice"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/services/content/contentserver"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"google.golang.org/grpc"
)

func serve(socket, directory string) error {
	snapshots, err := native.NewSnapshotter(filepath.Join(directory, "snapshots"))
	if err != nil {
		return err
	}
	content, err := local.NewStore(filepath.Join(directory, "content"))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshots))
	contentapi.RegisterContentServer(server, contentserver.New(content))
	diffapi.RegisterDiffServer(server, diffservice.FromApplierAndComparer(apply.NewFileSystemApplier(content), walking.NewWalkingDiff(content)))
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	fmt.Println("serving")
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: proxy SOCKET DIRECTORY")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
