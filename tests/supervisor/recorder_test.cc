// The recorder on a real loop and real files; no test waits for a time to pass.
#include "supervisor/recorder.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "governance/life_parser.h"

namespace kurultai::recorder_test {

namespace {

struct Directory {
  std::string path;
  Directory() {
    std::string name = "/tmp/kurultai-recorder-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

LifeHeader header() {
  LifeHeader header{"", "rlimit", mebibytes(100), {}};
  header.rules.budget = mebibytes(100);
  return header;
}

struct Recording {
  explicit Recording(Bytes limit = mebibytes(64)) {
    auto started = Recorder::start(loop, file, limit, header());
    REQUIRE_MESSAGE(started, started.error().message);
    recorder = *std::move(started);
  }
  void end() {
    recorder.reset();
    REQUIRE(loop.close(std::chrono::seconds(60)));
  }
  void note_one() { recorder->note(SkippedSeen{loop.now(), "task"}); }

  /// Looks every few milliseconds.
  void run_while(const std::function<bool()>& condition) {
    uv::Timer look(loop, [&] {
      if (!condition()) return loop.stop();
      look.start(Duration(2));
    });
    look.start(Duration(0));
    loop.run();
  }
  void run_until(std::string_view last) {
    run_while([&] { return !letters().ends_with(last); });
  }

  /// Its records behind the header, by their letters; every line has to be good.
  std::string letters() const {
    std::ifstream in(file);
    LifeParser parser;
    std::string found;
    for (std::string line; std::getline(in, line);) {
      if (in.eof()) break;  // it is being written
      const auto record = parser.parse(line);
      REQUIRE_MESSAGE(record, record.error().message);
      if (const auto* dropped = std::get_if<DroppedSeen>(&*record)) lost = dropped->count;
      found += line[0];
    }
    return found.substr(1);
  }

  Directory directory;
  std::string file = directory.path + "/life";
  uv::Loop loop;
  std::unique_ptr<Recorder> recorder;
  mutable std::uint64_t lost = 0;
};

/// No file may grow beyond it, as on a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t size) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit smaller{size, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &smaller);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("what is noted is in the file at its end, which only its owner may read") {
  Recording recording;
  recording.note_one();
  recording.note_one();
  recording.recorder->close();
  recording.note_one();
  recording.end();
  CHECK(recording.letters() == "hhz");
  struct stat status{};
  REQUIRE(::stat(recording.file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a file that is there already is not touched") {
  Directory directory;
  const std::string file = directory.path + "/mine";
  std::ofstream(file) << "mine";
  uv::Loop loop;
  const auto refused = Recorder::start(loop, file, mebibytes(1), header());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "record to " + file + ": File exists");
  CHECK(std::filesystem::file_size(file) == 4);
  CHECK_FALSE(Recorder::start(loop, directory.path, mebibytes(1), header()));
  CHECK_FALSE(Recorder::start(loop, directory.path + "/none/life", mebibytes(1), header()));
  CHECK(loop.close(std::chrono::seconds(60)));
}

TEST_CASE("at its limit a recording ends with a line that says so") {
  Recording recording(kibibytes(64));
  for (int i = 0; i < 10'000; ++i) recording.note_one();
  recording.end();
  const std::string letters = recording.letters();
  CHECK(letters.ends_with("hhz"));
  CHECK(letters.find('d') == std::string::npos);
  const auto size = std::filesystem::file_size(recording.file);
  CHECK(size <= 65536);
  CHECK(size > 65536 - 512);
}

TEST_CASE("behind a disk that is slow records wait up to a limit, and the rest is counted") {
  Recording recording;
  // While the loop does not run, the first piece that is written is not known to be.
  const std::string task(40, 't');
  constexpr std::size_t many = 2 * Recorder::most_waiting / 40;
  for (std::size_t i = 0; i < many; ++i) recording.recorder->note(SkippedSeen{recording.loop.now(), task});
  recording.run_until("hh");
  recording.note_one();
  recording.recorder->close();
  recording.run_until("dhz");
  recording.end();
  const std::string letters = recording.letters();
  const auto kept = static_cast<std::size_t>(std::ranges::count(letters, 'h'));
  CHECK(kept * 40 > Recorder::most_waiting / 2);
  CHECK(kept * 40 < Recorder::most_waiting * 3 / 2);
  CHECK(recording.lost + kept == many + 1);
}

TEST_CASE("on a disk that is full records are lost and counted, and lines stay whole") {
  Recording recording;
  {
    const FullDisk full(1000);
    for (int i = 0; i < 5000; ++i) recording.note_one();
    recording.run_while([&] { return recording.recorder->trouble().empty(); });
    CHECK(recording.letters().empty());
  }
  recording.note_one();
  recording.recorder->close();
  recording.run_until("z");
  recording.end();
  CHECK(recording.letters() == "dhz");
  CHECK(recording.lost == 5000);
}

}  // namespace kurultai::recorder_test
