// Recordings of `kurultaid --record`, read in a stream and in bounded room however long they are.
#pragma once

#include <functional>
#include <string>

#include "governance/life_record.h"
#include "tools/kurultai/complaint.h"

namespace kurultai {

/// Gives `take` every record of `file`, in its order; what it is given is valid during the call only. The
/// complaint names the file, and the line at fault; a recording without a single reading is at fault, too.
Answer<void> for_each_record(const std::string& file, const std::function<void(const LifeRecord&)>& take);

}  // namespace kurultai
