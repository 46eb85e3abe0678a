// How many tasks a second there can be, with many on their way at once; printed beside what bounds it.
#pragma once

namespace kurultai::bench {

/// Starts kurultaids of its own, and beanstalkd where it is installed.
void measure_throughput();

}  // namespace kurultai::bench
