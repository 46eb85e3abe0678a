#include "supervisor/workers/launch.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "supervisor/workers/fill_command.h"

namespace kurultai::launch_test {

namespace {

AgentConfig agent_with(std::vector<std::string> command, AgentProtocol protocol = AgentProtocol::exec) {
  AgentConfig agent;
  agent.name = "a";
  agent.protocol = protocol;
  agent.command = std::move(command);
  return agent;
}

LaunchInput input_for(const AgentConfig& agent) {
  LaunchInput input;
  input.launcher = "/opt/kurultai-worker";
  input.instance = "0123abcd";
  input.worker_id = "w7";
  input.agent = &agent;
  input.memory_limit = mebibytes(400);
  input.supervisor_pid = 42;
  input.environment = {
      "PATH=/bin", "HOME=/root", "SECRET=x", "LC_ALL=C", "EXTRA=1", "KURULTAI_INSTANCE=ffffffff", "odd"};
  return input;
}

bool has(const std::vector<std::string>& list, const std::string& entry) {
  return std::ranges::find(list, entry) != list.end();
}

}  // namespace

TEST_CASE("an agent gets the allow-listed environment and what it is given, nothing else") {
  AgentConfig agent = agent_with({"run"});
  agent.env = {{"TOKEN", "t"}, {"WORKER_ID", "mine"}, {"KEY", EnvValue::from_file("/k")}};
  agent.env_pass = {"EXTRA"};
  const auto environment = launch_options(input_for(agent)).environment;
  CHECK(has(environment, "PATH=/bin"));
  CHECK(has(environment, "LC_ALL=C"));
  CHECK(has(environment, "EXTRA=1"));
  CHECK(has(environment, "TOKEN=t"));
  CHECK(has(environment, "WORKER_ID=mine"));
  CHECK(has(environment, "NODE_OPTIONS=--max-old-space-size=300"));
  CHECK(has(environment, "KURULTAI_INSTANCE=0123abcd"));
  CHECK_FALSE(has(environment, "SECRET=x"));
  CHECK_FALSE(has(environment, "KURULTAI_INSTANCE=ffffffff"));
}

TEST_CASE("a working place is the launcher's to make: it gets the files of secrets, never what is in them") {
  AgentConfig agent = agent_with({"run"}, AgentProtocol::jsonl);
  agent.env = {{"PLAIN", "p"},
               {"KEY", EnvValue::from_file("/run/key")},
               {"KURULTAI_INSTANCE", EnvValue::from_file("/run/other")}};
  agent.env_pass = {"*"};
  agent.home = "private";
  agent.tmp = {true, mebibytes(2)};
  LaunchInput input = input_for(agent);
  input.environment.emplace_back("XDG_CACHE_HOME=/root/.cache");
  input.place = "/s/places/1/w7";
  input.payloads = "/s/payloads";
  input.state = "/s";
  input.socket = "/run/k";
  const auto words = [&] {
    std::string text;
    for (const std::string& word : launch_options(input).argv) text += word + " ";
    return text;
  };
  const auto environment = launch_options(input).environment;
  CHECK_FALSE(has(environment, "XDG_CACHE_HOME=/root/.cache"));
  CHECK(has(environment, "KURULTAI_INSTANCE=0123abcd"));
  CHECK(
      words().find(" --secret KEY=/run/key --place /s/places/1/w7 --home private --tmp 2097152 --become ") !=
      std::string::npos);
  input.tmp = TmpRight::root;
  CHECK(words().find(" --tmp 2097152 --tmp-by root --show-payloads /s/payloads --become ") !=
        std::string::npos);
  agent.sandbox = {SandboxKind::bubblewrap, false};
  CHECK(words().find(" --tmp 2097152 --sandbox none --hide /s --mask /run/k --show-payloads /s/payloads ") !=
        std::string::npos);
  agent.sandbox.network = true;
  input.user = User{7, 7, "", "/"};
  CHECK(words().find(" --sandbox network --become ") != std::string::npos);
}

TEST_CASE("home may be a path, which env cannot have set too") {
  AgentConfig agent = agent_with({"run"});
  agent.home = "/home/a";
  LaunchInput input = input_for(agent);
  input.user = User{7, 7, "seven", "/home/seven"};
  const auto options = launch_options(input);
  CHECK(has(options.environment, "HOME=/home/a"));
  CHECK_FALSE(has(options.argv, "--home"));
  CHECK_FALSE(has(options.argv, "--place"));
}

TEST_CASE("env_pass with a star passes everything but the instance's mark") {
  AgentConfig agent = agent_with({"run"});
  agent.env_pass = {"*"};
  const auto environment = launch_options(input_for(agent)).environment;
  CHECK(has(environment, "SECRET=x"));
  CHECK(has(environment, "KURULTAI_INSTANCE=0123abcd"));
}

TEST_CASE("a jsonl agent is what the launcher becomes, unless its group wants a holder") {
  const AgentConfig agent = agent_with({"python3", "a.py"}, AgentProtocol::jsonl);
  LaunchInput input = input_for(agent);
  input.group_options = {"--join", "/g/cgroup.procs"};
  auto argv = launch_options(input).argv;
  CHECK(argv.front() == "/opt/kurultai-worker");
  CHECK(has(argv, "--become"));
  CHECK(std::vector<std::string>(argv.end() - 3, argv.end()) ==
        std::vector<std::string>{"--", "python3", "a.py"});
  input.group_options = {"--limit-data", "1000", "--hold"};
  argv = launch_options(input).argv;
  CHECK(has(argv, "--hold"));
  CHECK_FALSE(has(argv, "--become"));
}

TEST_CASE("an exec agent gets a host, which holds its own tree") {
  const AgentConfig agent = agent_with({"run", "{x}"});
  LaunchInput input = input_for(agent);
  input.group_options = {"--hold"};
  input.user = User{1000, 1001, "ada", "/home/ada"};
  const auto options = launch_options(input);
  CHECK(has(options.argv, "--exec-host"));
  CHECK_FALSE(has(options.argv, "--hold"));
  CHECK_FALSE(has(options.argv, "--"));
  CHECK(has(options.argv, "1001"));
  CHECK(has(options.environment, "HOME=/home/ada"));
  CHECK(has(options.environment, "USER=ada"));
}

TEST_CASE("an mcp agent gets a host that is given the server's command") {
  const AgentConfig agent = agent_with({"npx", "{x}"}, AgentProtocol::mcp);
  LaunchInput input = input_for(agent);
  input.group_options = {"--join", "/g/cgroup.procs", "--hold"};
  input.user = User{1000, 1001, "ada", "/home/ada"};
  input.payloads = "/state/payloads";
  const auto argv = launch_options(input).argv;
  CHECK(std::vector<std::string>(argv.end() - 4, argv.end()) ==
        std::vector<std::string>{"--mcp-host", "--", "npx", "{x}"});
  for (const char* word : {"--hold", "--become", "--exec-host", "--payloads"}) CHECK_FALSE(has(argv, word));
  CHECK(has(argv, "/g/cgroup.procs"));
}

TEST_CASE("fields of the payload are filled in once, inside their argument") {
  const AgentConfig agent = agent_with({"cmd", "--to={name}", "{n}{n}", "{{x}}", "{list}", "{flag}"});
  const auto command = fill_command(agent, R"j({"name":"{n} $(rm)","n":7,"list":[1,"a"],"flag":true})j");
  REQUIRE(command.has_value());
  CHECK(command->argv ==
        std::vector<std::string>{"cmd", "--to={n} $(rm)", "77", "{x}", R"([1,"a"])", "true"});
}

TEST_CASE("what cannot be filled in is refused with the field's name") {
  const AgentConfig agent = agent_with({"cmd", "{name}"});
  for (const char* payload : {"", "{}", R"({"name":null})", "[1]", "\"name\"", R"({"name":"a\u0000b"})"}) {
    CAPTURE(payload);
    CHECK_FALSE(fill_command(agent, payload).has_value());
  }
  CHECK(fill_command(agent, "{}").error().message.find("'name'") != std::string::npos);
  const std::string large = R"({"name":")" + std::string(200 * 1024, 'x') + "\"}";
  CHECK(fill_command(agent, large).error().message.find("128 KiB") != std::string::npos);
}

TEST_CASE("the built-in agent takes its command from the payload") {
  AgentConfig agent = agent_with({});
  agent.name = command_agent;
  CHECK(fill_command(agent, R"({"command":["echo","{x}"]})")->argv ==
        std::vector<std::string>{"echo", "{x}"});
  const auto placed = fill_command(agent, R"({"command":["a"],"cwd":"/tmp","memoryLimitBytes":1048576})");
  REQUIRE(placed.has_value());
  CHECK(placed->cwd == "/tmp");
  CHECK(placed->memory_limit == mebibytes(1));
  for (const char* payload :
       {"", "{}", R"({"command":[]})", R"({"command":"ls"})", R"({"command":[1]})",
        R"({"command":["a"],"cwd":"tmp"})", R"({"command":["a"],"cwd":1})",
        R"({"command":["a"],"cwd":"/\u0000"})", R"({"command":["a"],"memoryLimitBytes":1000})",
        R"({"command":["a"],"memoryLimitBytes":"1GiB"})", R"({"command":["a"],"memoryLimitBytes":1e9})",
        R"({"command":["a"],"memoryLimitBytes":18446744073709551615})"}) {
    CAPTURE(payload);
    CHECK_FALSE(fill_command(agent, payload).has_value());
  }
}

}  // namespace kurultai::launch_test
