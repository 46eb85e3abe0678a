// The other roles of kurultai-trials: the agent whose memory is fought for, and what the figures are compared
// with. All live until the end of their stdin; the value is an exit status.
//
// The agent's payloads: {"role":"hold","mib":N,"gate":FILE,"deaf":BOOL,"pauseMs":N} touches N MiB, says
// PROGRESS `holding` and is a bystander, with that pause between its turns, until FILE is gone; its result is
// the bystander's record.
// {"role":"grow","mib":N} says PROGRESS `growing`, touches N MiB as fast as it can and answers {seconds,
// longestWaitMs}.
#pragma once

namespace kurultai::bench {

int serve_as_agent();
/// A bystander that is in no worker, with so much memory (fork takes longer the more there is); each line on
/// its stdin asks for its record.
int serve_as_control(int mib, int pause_ms);
/// Prints what growing by so much takes.
int grow_bare(int mib);

}  // namespace kurultai::bench
