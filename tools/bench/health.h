// What it costs to ask many workers how they are, and whether tasks are held up by it.
#pragma once

namespace kurultai::bench {

/// Starts kurultaids of its own with 50, 100 and 1,000 warm workers.
void measure_health();

/// The worker of that: answers each PING, and each TASK once `gate`, a FIFO, was opened for writing.
int health_agent(const char* gate);

}  // namespace kurultai::bench
