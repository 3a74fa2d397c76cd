#include "journeys.h"

namespace corten::bench {

// In this order: the collections come last, since ext4 is slow where many files have just gone.
const std::vector<Journey>& Journeys() {
  static const std::vector<Journey> journeys = {
      {"startup", {"1", "3"}, MeasureStartup},
      {"calls", {"28", "30", "31", "33"}, MeasureCalls},
      {"events", {"29"}, MeasureEvents},
      {"streams", {"26", "27"}, MeasureStreams},
      {"images", {"2", "31", "32"}, MeasureImages},
      {"lifecycle", {"6", "7", "9", "10", "12", "13", "17"}, MeasureLifecycle},
      {"processes", {"15", "16"}, MeasureProcesses},
      {"crowd", {"4", "5", "14", "18", "19", "20"}, MeasureCrowd},
      {"traced", {"ops"}, MeasureTraced},
      {"pull", {"21", "22", "23", "24"}, MeasurePull},
      {"collect", {"34", "35", "36"}, MeasureCollect},
  };
  return journeys;
}

}  // namespace corten::bench
