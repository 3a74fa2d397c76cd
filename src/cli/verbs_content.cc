#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/content_verbs.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace corten::cli {

namespace {

constexpr std::string_view kBadDigest = "invalid checksum digest format";
constexpr size_t kChunk = size_t{1} << 20;

std::string Age(Time since) {
  return HumanAge(std::max<int64_t>(0, Now().seconds - since.seconds));
}

// As the original says it.
Result<model::Digest> DigestOf(const std::string& text) {
  Result<model::Digest> digest = model::Digest::Parse(text);
  if (!digest.ok()) return UnknownError(kBadDigest);
  return digest;
}

Result<int> List(Session& session, const Values& values) {
  Table table(kTabbed);
  table.Row({"DIGEST", "SIZE", "AGE", "LABELS"}, /*trailing=*/false);
  const bool quiet = values.Bool("quiet");
  Status walked = session.Content()->Walk(values.args, [&](const content::Info& info) -> Status {
    if (quiet) {
      PrintLine(info.digest.str());
    } else {
      table.Row(
          {info.digest.str(), DecimalSize(info.size), Age(info.created_at), LabelText(info.labels)},
          /*trailing=*/false);
    }
    return Ok();
  });
  if (!quiet) table.Print();  // the header, and what came, also when the list broke off
  TRY(std::move(walked));
  return 0;
}

Result<int> Get(Session& session, const Values& values) {
  const model::Digest digest = TRY(DigestOf(values.Arg(0)));
  const std::unique_ptr<content::Store> store = session.Content();
  const std::unique_ptr<content::Reader> reader = TRY(store->OpenReader(digest));
  std::string buffer(kChunk, '\0');
  for (int64_t at = 0; at < reader->size();) {
    const size_t n = TRY(reader->ReadAt(buffer, at));
    if (n == 0) return DataLossError("content ", digest.str(), ": ends at ", at);
    TRY(WriteAll(FdRef(1), std::string_view(buffer).substr(0, n), "standard output"));
    at += static_cast<int64_t>(n);
  }
  return 0;
}

Result<int> Ingest(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return UnknownError("must specify a transaction reference");
  content::WriterOptions options;
  options.ref = values.Arg(0);
  options.total = values.Int("expected-size");
  if (const std::string expected = values.Text("expected-digest"); !expected.empty())
    options.expected = TRY(DigestOf(expected));
  const std::unique_ptr<content::Store> store = session.Content();
  Result<std::unique_ptr<content::Writer>> opened = store->OpenWriter(options);
  if (!opened.ok() && opened.error().Is(Code::kAlreadyExists)) return 0;
  const std::unique_ptr<content::Writer> writer = TRY(std::move(opened));
  const content::IngestStatus status = TRY(writer->GetStatus());
  if (status.offset > 0) TRY(writer->Truncate(0));
  std::string buffer(kChunk, '\0');
  int64_t taken = 0;
  while (true) {
    const size_t n = TRY(ReadSome(FdRef(0), buffer.data(), buffer.size(), "standard input"));
    if (n == 0) break;
    TRY(writer->Write(std::string_view(buffer).substr(0, n)));
    taken += static_cast<int64_t>(n);
  }
  if (taken < options.total) {
    return UnknownError("short read: expected ", options.total, " bytes but got ", taken,
                        ": unexpected EOF");
  }
  const Result<model::Digest> done = writer->Commit({options.total, options.expected, {}});
  if (!done.ok() && !done.error().Is(Code::kAlreadyExists)) {
    return done.error().Clone().Context(
        StrCat("failed commit on ref ", Quoted(options.ref), ": commit failed"));
  }
  return 0;
}

Result<int> Delete(Session& session, const Values& values) {
  const std::unique_ptr<content::Store> store = session.Content();
  std::optional<Error> first;
  for (const std::string& text : values.args) {
    const Result<model::Digest> digest = DigestOf(text);
    Status removed = digest.ok() ? store->Delete(*digest) : Status(digest.error().Clone());
    if (removed.ok()) {
      PrintLine(text);
    } else if (!removed.error().Is(Code::kNotFound)) {
      log::Error(StrCat("could not delete ", text), {{"error", removed.error().WireText()}});
      if (!first.has_value()) first = std::move(removed).TakeError();
    }
  }
  if (first.has_value()) return std::move(*first);
  return 0;
}

Result<int> Label(Session& session, const Values& values) {
  if (values.Arg(0).empty()) return InvalidArgumentError("please specify a digest");
  content::Info info;
  info.digest = TRY(DigestOf(values.Arg(0)));
  info.labels = ParseLabels(values.args, 1);
  content::FieldPaths paths;
  for (const auto& [key, value] : info.labels) paths.push_back(StrCat("labels.", key));
  const content::Info done = TRY(session.Content()->Update(info, paths));
  PrintLine(LabelText(done.labels, ""));
  return 0;
}

Result<int> Active(Session& session, const Values& values) {
  const std::unique_ptr<content::Store> store = session.Content();
  const std::vector<content::IngestStatus> statuses = TRY(store->ListStatuses(
      values.args.empty() ? content::Filters()
                          : content::Filters{StrCat("ref~=", Quoted(values.Arg(0)))}));
  Table table(kTabbed);
  table.Row({"REF", "SIZE", "AGE"});
  for (const content::IngestStatus& status : statuses)
    table.Row({status.ref, DecimalSize(status.offset), Age(status.started_at)});
  table.Print();
  return 0;
}

Command ActiveCommand() {
  return {
      {"active"},
      "display active transfers",
      "[flags] [<regexp>]",
      "",
      {DurationFlag({"timeout", "t"}, "total timeout for fetch", "0s", "CONTAINERD_FETCH_TIMEOUT"),
       TextFlag({"root"}, "path to content store root")},
      {},
      Connected(&Active)};
}

Command IngestCommand() {
  return {{"ingest"},
          "accept content into the store",
          "[flags] <key>",
          "",
          {IntFlag({"expected-size"}, "validate against provided size"),
           TextFlag({"expected-digest"}, "verify content against expected digest")},
          {},
          Connected(&Ingest)};
}

}  // namespace

Command ContentCommand() {
  Command group;
  group.names = {"content"};
  group.summary = "manage content";
  group.commands = {
      ActiveCommand(),
      {{"delete", "del", "remove", "rm"},
       "permanently delete one or more blobs",
       "[<digest>, ...]",
       "",
       {},
       {},
       Connected(&Delete)},
      {{"edit"},
       "edit a blob and return a new digest",
       "[flags] <digest>",
       "",
       {},
       {},
       NotInThisBuild("content edit")},
      ContentFetchCommand(),
      ContentFetchObjectCommand(),
      ContentFetchBlobCommand(),
      ContentPruneCommand(),
      {{"push-object"},
       "push an object to a remote",
       "[flags] <remote> <object> <type>",
       "",
       {},
       {},
       NotInThisBuild("content push-object")},
      {{"get"}, "get the data for an object", "[<digest>, ...]", "", {}, {}, Connected(&Get)},
      IngestCommand(),
      {{"list", "ls"},
       "list all blobs in the store",
       "[flags]",
       "",
       {BoolFlag({"quiet", "q"}, "print only the blob digest")},
       {},
       Connected(&List)},
      {{"label"},
       "add labels to content",
       "<digest> [<label>=<value> ...]",
       "",
       {},
       {},
       Connected(&Label)},
  };
  return group;
}

}  // namespace corten::cli
