// The loop wrappers with a real loop. No test waits for a time to pass: each ends with the event it is about.
// Run under valgrind too: AddressSanitizer does not see the misuse of handles inside libuv.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "supervisor/uv/loop.h"
#include "supervisor/uv/process.h"
#include "supervisor/uv/stream.h"

namespace kurultai::uv_test {
using namespace kurultai::uv;

namespace {

struct Directory {
  std::string path;
  Directory() {
    std::string name = "/tmp/kurultai-uv-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

std::array<int, 2> socket_pair() {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return ends;
}

std::unique_ptr<Stream> stream_on(Loop& loop, int fd) {
  auto stream = Stream::open_pipe(loop, fd);
  REQUIRE(stream.has_value());
  return std::move(*stream);
}

}  // namespace

TEST_CASE("a timer calls back once, and a later start replaces the earlier one") {
  Loop loop;
  int calls = 0;
  Timer timer(loop, [&] { calls += 1; });
  timer.start(std::chrono::hours(1));
  CHECK(timer.is_running());
  timer.start(Duration(1));
  loop.run();
  CHECK(calls == 1);
  CHECK_FALSE(timer.is_running());
}

TEST_CASE("a timer may destroy itself in its own callback") {
  Loop loop;
  std::unique_ptr<Timer> timer;
  int calls = 0;
  timer = std::make_unique<Timer>(loop, [&, text = std::string(100, 'x')] {
    timer.reset();
    calls += static_cast<int>(text.size());  // what the callback holds lives until it returns
  });
  timer->start(Duration(0));
  loop.run();
  CHECK(calls == 100);
}

TEST_CASE("what came in while the process stood still is heard before any timer") {
  Loop loop;
  const auto ends = socket_pair();
  const auto stream = stream_on(loop, ends[0]);
  std::string order;
  stream->read([&](std::string_view bytes) { order += bytes; }, [](std::string_view) {});
  Timer timer(loop, [&] {
    order += " timer";
    loop.stop();
  });
  timer.start(Duration(1));
  REQUIRE(::write(ends[1], "answer", 6) == 6);
  ::poll(nullptr, 0, 300);  // the process stands still
  loop.run();
  CHECK(order == "answer timer");
  ::close(ends[1]);
}

TEST_CASE("timers that take longer than each other's wait leave the loop to descriptors too") {
  Loop loop;
  const auto ends = socket_pair();
  REQUIRE(::write(ends[1], "x", 1) == 1);
  int calls = 0;
  bool heard = false;
  const auto take_its_time = [&](Timer& timer) {
    const TimePoint until = loop.now() + Duration(2);
    while (loop.now() < until) {
    }
    calls += 1;
    if (!heard && calls < 100) timer.start(Duration(1));
  };
  Timer one(loop, [&] { take_its_time(one); });
  Timer other(loop, [&] { take_its_time(other); });
  one.start(Duration(0));
  other.start(Duration(0));
  std::unique_ptr<FdWatch> watch;
  watch = std::move(*FdWatch::start(loop, ends[0], [&] {
    heard = true;
    watch.reset();
  }));
  loop.run();
  CHECK(heard);
  CHECK(calls < 10);
  for (const int end : ends) ::close(end);
}

TEST_CASE("deferred calls and jobs on threads come back on the loop") {
  Loop loop;
  bool was_called = false;
  std::string order;  // of the job: the deferred call may come while the thread is at it
  defer(loop, [&] { was_called = true; });
  run_on_thread(loop, [&] { order += "w"; }, [&] { order += "D"; });
  loop.run();
  CHECK(was_called);
  CHECK(order == "wD");
}

TEST_CASE("a watched descriptor calls back while it is readable") {
  Loop loop;
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  int calls = 0;
  std::unique_ptr<FdWatch> watch;
  auto started = FdWatch::start(loop, fd, [&] {
    calls += 1;
    watch.reset();
  });
  REQUIRE(started.has_value());
  watch = std::move(*started);
  const std::uint64_t one = 1;
  REQUIRE(::write(fd, &one, sizeof(one)) == sizeof(one));
  loop.run();
  CHECK(calls == 1);
  ::close(fd);
  CHECK_FALSE(FdWatch::start(loop, fd, [] {}).has_value());
}

TEST_CASE("a signal is seen on the loop") {
  Loop loop;
  std::unique_ptr<SignalWatch> watch;
  watch = std::make_unique<SignalWatch>(loop, SIGUSR1, [&] { watch.reset(); });
  ::raise(SIGUSR1);
  loop.run();
  CHECK(watch == nullptr);
}

TEST_CASE("more than the kernel takes at once is queued, arrives in order, and is told when written") {
  Loop loop;
  const auto ends = socket_pair();
  auto writer = stream_on(loop, ends[0]);
  auto reader = stream_on(loop, ends[1]);
  std::string sent;
  for (int i = 0; i < 200'000; ++i) sent += std::to_string(i) + ",";
  std::string received;
  bool told = false;
  reader->read([&](std::string_view bytes) { received += bytes; },
               [&](std::string_view error) { CHECK(error.empty()); });
  writer->write(sent);
  CHECK(writer->pending() > 0);
  writer->when_written([&] { told = true; });
  writer->close_when_written();
  loop.run();
  CHECK(told);
  CHECK(received == sent);
  CHECK(writer->is_closing());
  writer->write("too late");  // harmless
}

TEST_CASE("a paused stream gives nothing until it is resumed") {
  Loop loop;
  const auto ends = socket_pair();
  auto reader = stream_on(loop, ends[1]);
  std::string received;
  reader->read([&](std::string_view bytes) { received += bytes; }, [](std::string_view) {});
  reader->pause();
  REQUIRE(::write(ends[0], "abc", 3) == 3);
  ::close(ends[0]);
  loop.run();  // nothing to wait for
  CHECK(received.empty());
  reader->drain_now(2);
  CHECK(received == "ab");
  reader->resume();
  loop.run();
  CHECK(received == "abc");
}

TEST_CASE("a pipe that was made larger gets one read a turn, as any other") {
  Loop loop;
  std::array<int, 2> noisy{}, calm{};
  REQUIRE(::pipe2(noisy.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(calm.data(), O_CLOEXEC) == 0);
  constexpr std::size_t much = std::size_t{256} * 1024, a_turn = std::size_t{4} * 1024;
  REQUIRE(::fcntl(noisy[1], F_SETPIPE_SZ, static_cast<int>(much)) >= static_cast<int>(much));
  const std::string flood(much, 'x');
  REQUIRE(::write(noisy[1], flood.data(), flood.size()) == std::ssize(flood));
  ::close(noisy[1]);
  REQUIRE(::write(calm[1], "1", 1) == 1);
  const auto loud = stream_on(loop, noisy[0]);
  const auto quiet = stream_on(loop, calm[0]);
  std::size_t in_a_row = 0, most_in_a_row = 0, heard = 0;
  int answers = 0;
  loud->read(
      [&](std::string_view bytes) {
        CHECK(bytes.size() <= a_turn);
        heard += bytes.size();
        most_in_a_row = std::max(most_in_a_row, ++in_a_row);
      },
      [](std::string_view) {}, {.most_a_turn = a_turn});
  quiet->read(
      [&](std::string_view) {
        in_a_row = 0;
        answers += 1;
        if (answers < 60) {
          CHECK(::write(calm[1], "1", 1) == 1);  // ready again in the next turn
        } else {
          ::close(calm[1]);
        }
      },
      [](std::string_view) {});
  loop.run();
  CHECK(heard == much);
  CHECK(answers == 60);
  // Behind the last answer nobody else wants a turn.
  CHECK(most_in_a_row <= much / a_turn - 59);
}

TEST_CASE("a stream that takes more than its share rests, unless it is excused") {
  const auto burn = [] {
    const std::clock_t until = std::clock() + 30 * CLOCKS_PER_SEC / 1000;
    while (std::clock() < until) {
    }
  };
  for (const bool is_excused : {false, true}) {
    CAPTURE(is_excused);
    Loop loop;
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    REQUIRE(::write(ends[1], "12345", 5) == 5);
    auto stream = stream_on(loop, ends[0]);
    int reads = 0;
    Timer end(loop, [&] { stream.reset(); });
    stream->read(
        [&](std::string_view) {
          burn();
          if (is_excused) stream->excuse();
          if (++reads == 4) stream.reset(), end.stop();
        },
        [](std::string_view) {}, {.most_a_turn = 1, .share = 0.001});
    end.start(Duration(is_excused ? 60000 : 100));
    loop.run();
    ::close(ends[1]);
    CHECK(reads == (is_excused ? 4 : 1));
  }
}

TEST_CASE("a stream may be destroyed by its own data callback") {
  Loop loop;
  const auto ends = socket_pair();
  auto reader = stream_on(loop, ends[1]);
  std::string received;
  reader->read(
      [&, guard = std::string("held")](std::string_view bytes) {
        received = bytes;
        reader.reset();
        received += guard;
      },
      [](std::string_view) { FAIL("no end is told after the destruction"); });
  REQUIRE(::write(ends[0], "x", 1) == 1);
  loop.run();
  CHECK(received == "xheld");
  ::close(ends[0]);
}

TEST_CASE("a listener on a socket path accepts, is private, and replaces a stale socket only") {
  const Directory directory;
  const std::string path = directory.path + "/s";
  Loop loop;
  {
    std::unique_ptr<Stream> accepted;
    auto listener = Listener::listen_unix(loop, path, [&](std::unique_ptr<Stream> stream) {
      accepted = std::move(stream);
      loop.stop();
    });
    REQUIRE(listener.has_value());
    struct stat status{};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    const auto second = Listener::listen_unix(loop, path, [](std::unique_ptr<Stream>) {});
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().message.find("another supervisor") != std::string::npos);
    loop.run();  // the probe of the second one was a connection
    CHECK(accepted != nullptr);
  }
  CHECK_FALSE(std::filesystem::exists(path));

  std::ofstream(path) << "precious";
  const auto refused = Listener::listen_unix(loop, path, [](std::unique_ptr<Stream>) {});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("not a socket") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 8);
}

TEST_CASE("a socket path that is too long and addresses that are none are refused with what to write") {
  Loop loop;
  const auto ignore = [](std::unique_ptr<Stream>) {};
  const auto long_path = Listener::listen_unix(loop, "/tmp/" + std::string(200, 'x'), ignore);
  REQUIRE_FALSE(long_path.has_value());
  CHECK(long_path.error().message.find("107 bytes") != std::string::npos);
  for (const char* address : {"nonsense", "127.0.0.1:", "127.0.0.1:99999", "example.org:80", ":80"}) {
    CAPTURE(address);
    CHECK_FALSE(Listener::listen_tcp(loop, address, ignore).has_value());
  }
}

TEST_CASE("a TCP listener on port 0 tells the port it got, and a taken port is refused") {
  Loop loop;
  const auto ignore = [](std::unique_ptr<Stream>) {};
  auto listener = Listener::listen_tcp(loop, "127.0.0.1:0", ignore);
  REQUIRE(listener.has_value());
  const std::string address = (*listener)->address();
  CHECK(address.starts_with("127.0.0.1:"));
  CHECK_FALSE(address.ends_with(":0"));
  CHECK_FALSE(Listener::listen_tcp(loop, address, ignore).has_value());
}

TEST_CASE("a child gets real pipes and the given environment only, and its end is told") {
  Loop loop;
  int status = -1;
  auto spawned = Process::spawn(
      loop, {{"/bin/sh", "-c", "read line; echo \"$line $A\"; echo oops >/dev/stderr; exit 7"}, {"A=b"}},
      [&](int code, int) { status = code; });
  REQUIRE(spawned.has_value());
  std::string out;
  std::string err;
  spawned->out->read([&](std::string_view bytes) { out += bytes; }, [](std::string_view) {});
  spawned->err->read([&](std::string_view bytes) { err += bytes; }, [](std::string_view) {});
  spawned->in->write("hello\n");
  loop.run();
  CHECK(out == "hello b\n");
  CHECK(err == "oops\n");
  CHECK(status == 7);
}

TEST_CASE("a program that cannot be started is a failure that leaves no descriptor") {
  Loop loop;
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto failed = [&] {
    const auto spawned = Process::spawn(loop, {{"/nonexistent/program"}, {}}, [](int, int) {});
    REQUIRE_FALSE(spawned.has_value());
    CHECK(spawned.error().message == "start /nonexistent/program: No such file or directory");
    loop.run();
  };
  failed();  // the first spawn opens what libuv keeps for signals
  const auto before = open_files();
  failed();
  CHECK(open_files() == before);
}

}  // namespace kurultai::uv_test
