#include "wire/any_types.h"

#include <gtest/gtest.h>

#include "containerd/events/task.pb.h"
#include "google/protobuf/any.pb.h"

namespace corten::wire {
namespace {

TEST(AnyTypes, ProtobufValuesArePackedUnderTheirBareName) {
  containerd::events::TaskExit exit;
  exit.set_pid(7);
  google::protobuf::Any any;
  ASSERT_TRUE(PackAny(exit, &any));
  EXPECT_EQ(any.type_url(), "containerd.events.TaskExit");
  const Result<containerd::events::TaskExit> back = UnpackAny<containerd::events::TaskExit>(any);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->pid(), 7u);
}

TEST(AnyTypes, AUrlWithAHostIsAccepted) {
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/containerd.events.TaskExit");
  EXPECT_TRUE(UnpackAny<containerd::events::TaskExit>(any).ok());
}

TEST(AnyTypes, AnotherTypeIsAnErrorNotAGuess) {
  google::protobuf::Any any;
  any.set_type_url("containerd.events.TaskOOM");
  const auto result = UnpackAny<containerd::events::TaskExit>(any);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
  any.set_type_url("");
  EXPECT_FALSE(UnpackAny<containerd::events::TaskExit>(any).ok());
}

TEST(AnyTypes, BytesThatDoNotParseAreAnError) {
  google::protobuf::Any any;
  any.set_type_url("containerd.events.TaskExit");
  any.set_value("\x0a\xff");
  EXPECT_FALSE(UnpackAny<containerd::events::TaskExit>(any).ok());
}

TEST(AnyTypes, JsonTypesKeepTheirWholePath) {
  EXPECT_EQ(TypeName(kSpecType), kSpecType);
  EXPECT_EQ(TypeName(kCriUpdatedResourcesType), kCriUpdatedResourcesType);
  EXPECT_TRUE(IsJsonType(kFeaturesType));
  EXPECT_FALSE(IsJsonType("Spec"));
  EXPECT_EQ(TypeName("a/b/c.D"), "c.D");
  EXPECT_EQ(TypeName("c.D"), "c.D");
}

}  // namespace
}  // namespace corten::wire
