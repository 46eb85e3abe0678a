// The supervisor at work: its parts wired together, from the first reading to the last answer.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "config/load.h"
#include "protocol/bytes.h"
#include "protocol/error.h"
#include "supervisor/gateway/gateway.h"
#include "supervisor/guardian.h"
#include "supervisor/memory/controller.h"
#include "supervisor/options.h"
#include "supervisor/state_directory.h"
#include "supervisor/uv/loop.h"
#include "supervisor/workers/pool.h"

namespace kurultai {

/// What is there before it; the references outlive it.
struct SupervisorParts {
  const Options& options;
  const StateDirectory& state;
  Controller& controller;
  Guardian& guardian;
  std::shared_ptr<const Config> config;
  std::function<ConfigResult<Config>()> read_config;  // once more, for a reload
  Bytes machine;                                      // what `budget: auto` is at most
  PoolSettings pool;
  GatewaySettings gateway;
  std::string publisher;  // kurultai-publisher
};

/// Until it was asked to end and has: what came of the tasks, on one line (empty for a client that asks for
/// itself). An error when it could not start.
Result<std::string> run_supervisor(uv::Loop& loop, SupervisorParts parts);

}  // namespace kurultai
