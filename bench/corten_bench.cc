// corten-bench: measures one containerd daemon, or two in alternation, by the same calls.
//
// Usage: see kUsage. bench/run.sh makes the surroundings (namespaces, CPU groups, registry, images)
// and gives the arguments. Figures go to standard output as a table and to --json as JSON lines.
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "containerd/services/version/v1/version.grpc.pb.h"
#include "journeys.h"

namespace corten::bench {
namespace {

constexpr const char* kUsage = R"(usage: corten-bench [options] NAME=PROGRAM|NAME=SOCKET [NAME=...]
  --rows LIST      row numbers of docs/BENCHMARKS.md or journeys, with commas (all)
  --quick          tiny counts: proves that the code runs, the figures say nothing
  --work DIR       scratch directory on the disk under test
  --group NAME     CPU group that exists and has the bench in NAME/client
  --ctr FILE       a containerd client, for imports and pulls
  --archive FILE   archive of the busybox image
  --image REF      its name
  --registry HOST  loopback registry with the image shapes
  --crun FILE      measures rows of crun too, with this one for both daemons
  --json FILE      writes JSON lines there
  --fact K=V       something to say about the surroundings; may be repeated
)";

std::string FirstMatch(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::string FileSystemOf(const std::string& path) {
  struct statfs st = {};
  if (statfs(path.c_str(), &st) != 0) return "unknown";
  switch (static_cast<uint64_t>(st.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    default:
      return StrCat("type ", static_cast<uint64_t>(st.f_type));
  }
}

void AddFacts(Run& run) {
  utsname names = {};
  (void)uname(&names);
  Report& report = run.report();
  report.Fact("kernel", names.release);
  report.Fact("processor", FirstMatch("/proc/cpuinfo", "model name"));
  report.Fact("cores", StrCat(sysconf(_SC_NPROCESSORS_ONLN)));
  report.Fact("memory", FirstMatch("/proc/meminfo", "MemTotal"));
  report.Fact("file system", FileSystemOf(run.options().work_dir));
  report.Fact("counts", run.options().quick ? "quick: the figures say nothing" : "full");
}

void AddVersions(Run& run) {
  for (Target* target : run.Shared()) {
    const auto stub =
        containerd::services::version::v1::Version::NewStub(target->connection()->channel());
    grpc::ClientContext context;
    containerd::services::version::v1::VersionResponse response;
    Must(client::FromGrpc(stub->Version(&context, google::protobuf::Empty(), &response)),
         "version");
    run.report().Fact(target->name(), StrCat(response.version(), " ", response.revision()));
  }
}

// CPU time that everything on the machine has used, in milliseconds.
double MachineBusyMs() {
  std::ifstream in("/proc/stat");
  std::string word;
  in >> word;
  double busy = 0;
  for (int i = 0; i < 8; ++i) {
    double jiffies = 0;
    in >> jiffies;
    if (i != 3 && i != 4) busy += jiffies;  // idle and waiting for the disk
  }
  return busy * 1000 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void RunJourney(Run& run, const Journey& journey) {
  (void)fprintf(stderr, "corten-bench: %s\n", journey.name);
  sync();  // what the journey before has left unwritten is not this one's business
  const double busy = MachineBusyMs();
  const double own = GroupUsageMs(run.options().group);
  const auto begin = Now();
  journey.measure(run);
  const double wall = Millis(begin);
  const double cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  const double others = (MachineBusyMs() - busy) - (GroupUsageMs(run.options().group) - own);
  std::string rows;
  for (const char* row : journey.rows) rows += rows.empty() ? row : StrCat(",", row);
  run.report().Note(rows, StrCat("took ", static_cast<int>(wall / 1000), " s; others used ",
                                 static_cast<int>(100 * std::max(0.0, others) / (wall * cores)),
                                 " % of the machine meanwhile"));
}

struct Arguments {
  RunOptions run;
  std::string json;
  std::vector<std::string> facts;
};

void AddRows(const std::string& list, std::set<std::string>* rows) {
  size_t at = 0;
  while (at <= list.size()) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (comma > at) rows->insert(list.substr(at, comma - at));
    at = comma + 1;
  }
  std::set<std::string> known;
  for (const Journey& journey : Journeys()) {
    known.insert(journey.name);
    known.insert(journey.rows.begin(), journey.rows.end());
  }
  for (const std::string& row : *rows) {
    if (!known.contains(row)) Fail(StrCat("no row or journey ", Quoted(row)));
  }
}

bool AddCandidate(const std::string& word, std::vector<Candidate>* candidates) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) return false;
  const std::string path = word.substr(equals + 1);
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0) Fail(StrCat(path, ": ", strerror(errno)));
  Candidate candidate;
  candidate.name = word.substr(0, equals);
  (S_ISSOCK(st.st_mode) ? candidate.socket : candidate.program) = path;
  candidates->push_back(candidate);
  return true;
}

bool Parse(const std::vector<std::string>& words, Arguments* out) {
  const std::map<std::string, std::string*> texts = {
      {"--work", &out->run.work_dir},   {"--group", &out->run.group},
      {"--ctr", &out->run.ctr},         {"--archive", &out->run.archive},
      {"--image", &out->run.reference}, {"--registry", &out->run.registry},
      {"--crun", &out->run.crun},       {"--json", &out->json}};
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool has_value = i + 1 < words.size();
    const auto text = texts.find(word);
    if (word == "--quick") {
      out->run.quick = true;
    } else if (text != texts.end() && has_value) {
      *text->second = words[++i];
    } else if (word == "--rows" && has_value) {
      AddRows(words[++i], &out->run.rows);
    } else if (word == "--fact" && has_value) {
      out->facts.push_back(words[++i]);
    } else if (word.starts_with("--") || !AddCandidate(word, &out->run.candidates)) {
      return false;
    }
  }
  const size_t daemons = out->run.candidates.size();
  return daemons > 0 && daemons <= 2 && !out->run.work_dir.empty() && !out->run.group.empty() &&
         !out->run.ctr.empty() && !out->run.archive.empty() && !out->run.reference.empty();
}

int Main(const std::vector<std::string>& words) {
  Arguments arguments;
  if (!Parse(words, &arguments)) {
    (void)fputs(kUsage, stderr);
    return 2;
  }
  Run run(arguments.run);
  if (arguments.run.quick) run.report().WithoutVerdicts();
  AddFacts(run);
  for (const std::string& fact : arguments.facts) {
    const size_t equals = std::min(fact.find('='), fact.size() - 1);
    run.report().Fact(fact.substr(0, equals), fact.substr(equals + 1));
  }
  AddVersions(run);
  for (const Journey& journey : Journeys()) {
    const bool wanted =
        run.Wants(journey.name) || std::any_of(journey.rows.begin(), journey.rows.end(),
                                               [&](const char* row) { return run.Wants(row); });
    if (wanted) RunJourney(run, journey);
  }
  run.StopShared();
  run.report().PrintTable(stdout);
  if (!arguments.json.empty()) {
    FILE* out = fopen(arguments.json.c_str(), "we");
    if (out == nullptr) Fail(StrCat(arguments.json, ": ", strerror(errno)));
    run.report().PrintJson(out);
    (void)fclose(out);
  }
  return 0;
}

}  // namespace
}  // namespace corten::bench

int main(int argc, char** argv) { return corten::bench::Main({argv + 1, argv + argc}); }
