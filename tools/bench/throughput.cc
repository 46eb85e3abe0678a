#include "tools/bench/throughput.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tools/bench/child.h"
#include "tools/bench/connection.h"
#include "tools/bench/kurultaid.h"

extern char** environ;

namespace kurultai::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int clients = 64;
constexpr int batch_size = 500;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Kurultaid supervisor() {
  const std::string self = own_path();
  const std::string many = "100000";
  return Kurultaid(
      {.config = "memory: {budget: 1GiB}\n"
                 "workers: {max: 2, memory_limit: 256MiB, memory_warning: 250MiB}\n"
                 "queue: {max_depth: " +
                 many + ", limits: {normal: " + many + ", critical: " + many +
                 "}}\ncircuit_breakers: {failures: 1000}\nagents:\n  none: {command: [" + self +
                 ", --agent], concurrency: 16, durability: none}\n  durable: {command: [" + self +
                 ", --agent], concurrency: 16}\n  hold: {protocol: exec, command: [sleep, '1000']}\n"});
}

std::string task_of(const std::string& agent) { return "{\"agent\":\"" + agent + "\"}"; }

/// Each client has one task on its way at a time, from submission to result.
double many_clients(const Kurultaid& kurultaid, const std::string& agent, int count) {
  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<pollfd> ready;
  for (int i = 0; i < clients; ++i) {
    connections.push_back(std::make_unique<Connection>(kurultaid.socket()));
    ready.push_back({connections.back()->fd(), POLLIN, 0});
  }
  const std::string body = task_of(agent);
  const auto start = Clock::now();
  int sent = 0;
  const auto ask = [&](Connection& connection) {
    if (sent++ < count) connection.send("POST", "/v1/tasks?wait=60s", body);
  };
  for (const auto& connection : connections) ask(*connection);
  std::string answer;
  for (int done = 0; done < count;) {
    if (::poll(ready.data(), ready.size(), 60000) <= 0) give_up("no answer");
    for (std::size_t i = 0; i < ready.size(); ++i) {
      if (ready[i].revents == 0 || !connections[i]->receive(answer)) continue;
      if (answer.find("\"completed\"") == std::string::npos) give_up("a task did not complete: " + answer);
      done += 1;
      ask(*connections[i]);
    }
  }
  return count / seconds_since(start);
}

/// Two clients, each with a batch on its way, from submission to the results of all.
double batches(const Kurultaid& kurultaid, const std::string& agent, int count) {
  std::string body = "[";
  for (int i = 0; i < batch_size; ++i) body += (i == 0 ? "" : ",") + task_of(agent);
  body += "]";
  const auto start = Clock::now();
  std::vector<std::thread> lanes;
  lanes.reserve(2);
  for (int lane = 0; lane < 2; ++lane) {
    lanes.emplace_back([&] {
      Connection connection(kurultaid.socket());
      for (int done = 0; done < count / 2; done += batch_size) {
        const std::string answer = connection.ask("POST", "/v1/tasks:batch?wait=60s", body);
        if (answer.find("\"error\":{") != std::string::npos) give_up("a batch was refused: " + answer);
      }
    });
  }
  for (auto& lane : lanes) lane.join();
  return count / seconds_since(start);
}

/// Submissions alone, one after the other, while all workers are busy with something else.
double posts(const Kurultaid& kurultaid, const std::string& agent, int count) {
  Connection connection(kurultaid.socket());
  const std::string body = task_of(agent);
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) {
    if (connection.ask("POST", "/v1/tasks", body).find("\"queued\"") == std::string::npos) give_up("refused");
  }
  return count / seconds_since(start);
}

/// The rate of `put` of a beanstalkd of our own; with a binlog that is synced for each, or without one. 0: it
/// is not installed.
double puts(bool durable, int count) {
  static constexpr const char* program = "/usr/bin/beanstalkd";
  if (::access(program, X_OK) != 0) return 0;
  char directory[] = "/tmp/kurultai-bench-XXXXXX";
  if (::mkdtemp(directory) == nullptr) give_up("mkdtemp");
  const std::string port = std::to_string(20000 + ::getpid() % 20000);
  std::vector<std::string> words = {program, "-l", "127.0.0.1", "-p", port};
  if (durable) words.insert(words.end(), {"-b", directory, "-f", "0"});
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (::posix_spawn(&pid, program, nullptr, nullptr, argv.data(), environ) != 0) give_up("start beanstalkd");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
  ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  int fd = -1;
  for (int tries = 0; tries < 200; ++tries) {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) break;
    ::close(fd);
    fd = -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (fd < 0) give_up("beanstalkd does not answer");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const std::string body = task_of("durable");
  const std::string put = "put 1 0 60 " + std::to_string(body.size()) + "\r\n" + body + "\r\n";
  std::array<char, 256> answer{};
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) {
    write_all(fd, put);
    const ssize_t got = ::read(fd, answer.data(), answer.size());
    if (got < 8 || std::string_view(answer.data(), 8) != "INSERTED") give_up("beanstalkd refused");
  }
  const double rate = count / seconds_since(start);
  ::close(fd);
  ::kill(pid, SIGTERM);
  ::waitpid(pid, nullptr, 0);
  std::filesystem::remove_all(directory);
  return rate;
}

void print_rate(const char* what, double ours, const char* peer_name, double peer) {
  std::printf("%-45s %8.0f /s", what, ours);
  if (peer > 0) std::printf("   %s %8.0f /s   ratio %.2f", peer_name, peer, ours / peer);
  std::printf("\n");
}

double resident_mib(const Kurultaid& kurultaid) {
  std::ifstream status("/proc/" + std::to_string(kurultaid.pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

}  // namespace

void measure_throughput() {
  {
    const Kurultaid kurultaid = supervisor();
    for (const char* agent : {"none", "durable"}) {
      const std::string name = std::string("tasks, durability ") + (*agent == 'n' ? "none" : "full");
      many_clients(kurultaid, agent, 2000);  // warm
      if (*agent == 'n')
        std::printf("resident under %d connections                 %8.2f MiB\n", clients,
                    resident_mib(kurultaid));
      print_rate((name + ", 64 clients").c_str(), many_clients(kurultaid, agent, 40000), "", 0);
      print_rate((name + ", batches of 500").c_str(), batches(kurultaid, agent, 40000), "", 0);
    }
    std::vector<std::unique_ptr<Connection>> connections;
    for (int i = 0; i < clients; ++i) {
      connections.push_back(std::make_unique<Connection>(kurultaid.socket()));
      connections.back()->ask("GET", "/health");
    }
    std::printf("resident under 64 connections                 %8.2f MiB\n", resident_mib(kurultaid));
  }
  const Kurultaid kurultaid = supervisor();
  Connection connection(kurultaid.socket());
  for (int i = 0; i < 2; ++i)
    connection.ask("POST", "/v1/tasks", R"({"agent":"hold","priority":"critical"})");
  while (connection.ask("GET", "/v1/queue").find("\"depth\":0") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  print_rate("POST alone, durability none", posts(kurultaid, "none", 10000), "beanstalkd put",
             puts(false, 10000));
  print_rate("POST alone, durability full", posts(kurultaid, "durable", 2000), "beanstalkd -f 0 put",
             puts(true, 2000));
}

}  // namespace kurultai::bench
