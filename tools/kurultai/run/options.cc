// What `kurultai run` can be told.
#include "tools/kurultai/commands.h"
#include "tools/kurultai/run/run.h"

namespace kurultai {

void add_run(Commands& commands) {
  auto& options = commands.keep<RunOptions>();
  Command run = commands.add(
      "run", "run commands under one memory budget, without a daemon",
      "kurultai run --budget 1GiB --memory 256MiB --jobs 4 -- python3 crawl.py {} ::: a b c\n"
      "  ls *.json | kurultai run --keep-order -- jq .name\n\n"
      "One command an argument behind `:::`, or a line of stdin; `{}` is replaced, or the argument "
      "appended.\n"
      "A command starts when what earlier ones used, or until three have ended a --jobs-th part, fits below "
      "85 % of "
      "the\n"
      "budget beside those that run.\n"
      "Ctrl-C lets running commands finish, a second one ends at once. Exit status: the number of failed\n"
      "commands, 101 for more than 100, 255 for errors of its own.");
  run.option("--budget", options.budget, "memory for all commands together (1GiB)");
  run.option("--memory", options.memory, "memory cap of one command (512MiB, at most the budget)");
  run.option("-j,--jobs", options.jobs, {1, 1000}, "commands at a time (2)");
  run.priority_option(options.priority);
  run.option("--retries", options.retries, {0, 1000}, "try a failed command again so often");
  run.option("--timeout", options.timeout, "end a command after so long");
  run.option("--results", options.results, "DIR", "also keep stdout, stderr and task.json in DIR/NUMBER/");
  run.flag("-k,--keep-order", options.keep_order, "print outputs in the order of the arguments");
  run.takes_command(options.command, "-- CMD [ARG...] [::: A B C]", run_own_error);
  run.runs([&options] { return kurultai::run(options); });
}

}  // namespace kurultai
