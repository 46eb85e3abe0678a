// Makes a failing run small: what can be left out while the same invariant still fails is left out.
#pragma once

#include "tests/simulation/world.h"

namespace kurultai::simulation {

/// Of a plan that violates `invariant`. Takes as long as `most_runs` runs of ever smaller worlds.
Plan shrink(Plan plan, const std::string& invariant, int most_runs = 400);

}  // namespace kurultai::simulation
