// images pull, import, export and tag by the daemon's transfer service.
#include <fcntl.h>
#include <unistd.h>

#include "api/values.h"
#include "cli/byte_files.h"
#include "cli/image_journeys.h"
#include "cli/image_verbs.h"
#include "cli/registry_flags.h"
#include "cli/transfer_view.h"
#include "client/transfer.h"
#include "containerd/types/transfer/image.pb.h"
#include "containerd/types/transfer/importexport.pb.h"

namespace corten::cli {

namespace types = containerd::types::transfer;

namespace {

// Flags that only the client-side way knows.
Status RefuseLocalFlags(const Values& values, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (values.Has(name)) return UnknownError("\"--", name, "\" requires \"--local\" flag");
  }
  return Ok();
}

void AddUnpack(const model::Platform& platform, const Values& values, types::ImageStore* store) {
  types::UnpackConfiguration* unpack = store->add_unpacks();
  api::ToProto(platform, unpack->mutable_platform());
  unpack->set_snapshotter(values.Text("snapshotter"));
}

}  // namespace

Result<int> TransferPull(Session& session, const Values& values) {
  TRY(RefuseLocalFlags(values, {"max-concurrent-downloads", "print-chainid", "skip-verify",
                                "tlscacert", "tlscert", "tlskey"}));
  const std::string reference = values.Arg(0);
  const std::unique_ptr<RemoteRegistry> source =
      TRY(RemoteRegistry::Open(session, values, reference));
  types::ImageStore store;
  store.set_name(reference);
  std::vector<model::Platform> platforms = TRY(PlatformsOf(values));
  for (const model::Platform& platform : platforms) {
    api::ToProto(platform, store.add_platforms());
    AddUnpack(platform, values, &store);
  }
  if (values.Bool("all-platforms")) {  // of these only what is named is unpacked
    for (const std::string& text : values.List("platform")) {
      const model::Platform platform = TRY(model::ParsePlatform(text));
      AddUnpack(platform, values, &store);
    }
  }
  store.set_all_metadata(!values.Bool("skip-metadata"));
  api::ToProto(ParseLabels(values.List("label")), store.mutable_labels());
  TransferView view;
  TRY(client::RunTransfer(session.connection(), session.scope(), source->message(), store,
                          [&](const client::TransferProgress& told) { view.Told(told); }));
  return 0;
}

Result<int> TransferImport(Session& session, const Values& values, FdRef archive) {
  TRY(RefuseLocalFlags(values, {"discard-unpacked-layers"}));
  types::ImageStore store;
  store.set_name(values.Text("index-name"));
  api::ToProto(ParseLabels(values.List("label")), store.mutable_labels());
  types::ImageReference* names = store.add_extra_references();
  names->set_name(BaseName(values));
  names->set_is_prefix(true);
  names->set_allow_overwrite(values.Text("base-name").empty());
  names->set_add_digest(values.Bool("digests"));
  names->set_skip_named_digest(values.Bool("skip-digest-for-named"));
  model::Platform platform;  // empty: any
  if (!values.Bool("all-platforms")) {
    platform = model::HostPlatform();
    if (const std::string wanted = values.Text("platform"); !wanted.empty())
      platform = TRY(model::ParsePlatform(wanted));
    api::ToProto(platform, store.add_platforms());
  }
  if (!values.Bool("no-unpack")) AddUnpack(platform, values, &store);

  const std::unique_ptr<client::Stream> stream =
      TRY(client::Stream::Open(session.connection(), session.scope(), "import"));
  types::ImageImportStream source;
  source.set_stream(stream->id());
  source.set_force_compress(values.Bool("compress-blobs"));
  Status sent;
  std::thread sender([&] {
    FdSource bytes(archive, "archive");
    sent = client::SendBytes(*stream, bytes);
  });
  TransferView view;
  const Status done =
      client::RunTransfer(session.connection(), session.scope(), source, store,
                          [&](const client::TransferProgress& told) { view.Told(told); });
  stream->Cancel();  // what is still being sent nobody reads
  sender.join();
  if (!done.ok()) return done.error().Clone();
  return 0;
}

Result<int> TransferExport(Session& session, const Values& values, FdRef archive) {
  types::ImageStore store;
  for (size_t i = 1; i < values.args.size(); ++i)
    store.add_extra_references()->set_name(values.args[i]);
  const std::unique_ptr<client::Stream> stream =
      TRY(client::Stream::Open(session.connection(), session.scope(), "export"));
  types::ImageExportStream destination;
  destination.set_stream(stream->id());
  for (const std::string& text : values.List("platform")) {
    const model::Platform platform = TRY(model::ParsePlatform(text));
    api::ToProto(platform, destination.add_platforms());
  }
  destination.set_all_platforms(values.Bool("all-platforms"));
  destination.set_skip_compatibility_manifest(values.Bool("skip-manifest-json"));
  destination.set_skip_non_distributable(values.Bool("skip-non-distributable"));
  Status received;
  std::thread receiver([&] {
    FdSink bytes(archive, "archive");
    received = client::ReceiveBytes(*stream, bytes);
  });
  const Status done =
      client::RunTransfer(session.connection(), session.scope(), store, destination, {});
  if (!done.ok()) stream->Cancel();  // else the daemon ends it after the last byte
  receiver.join();
  TRY(std::move(received));
  if (!done.ok()) return done.error().Clone();
  return 0;
}

Status TransferTag(Session& session, const std::string& from, const std::string& to) {
  types::ImageStore source;
  source.set_name(from);
  types::ImageStore destination;
  destination.set_name(to);
  return client::RunTransfer(session.connection(), session.scope(), source, destination, {});
}

}  // namespace corten::cli
