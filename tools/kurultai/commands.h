// The families of commands. Each adds its commands, with their options, to the command line; what they do
// stands in the same file, or beside it.
#pragma once

#include "tools/kurultai/command_line.h"

namespace kurultai {

void add_run(Commands& commands);             // run/options.cc
void add_submitting(Commands& commands);      // submit.cc: submit, exec
void add_listing(Commands& commands);         // listing.cc: ps, task
void add_agents(Commands& commands);          // agents.cc
void add_state(Commands& commands);           // state.cc: queue, workers, memory, breakers, schedules, status
void add_why(Commands& commands);             // why.cc
void add_task_commands(Commands& commands);   // tasks.cc: result, logs, cancel
void add_administration(Commands& commands);  // admin.cc: drain, reload
void add_doctor(Commands& commands);          // doctor.cc
void add_drill(Commands& commands);           // drill/drill.cc
void add_top(Commands& commands);             // top/top.cc
void add_events(Commands& commands);          // events.cc
void add_record(Commands& commands);          // record.cc
void add_replay(Commands& commands);          // replay.cc
void add_mcp(Commands& commands);             // mcp/mcp.cc
void add_config(Commands& commands);          // config.cc: config check, show, schema
void add_completion(Commands& commands);      // completion.cc

}  // namespace kurultai
