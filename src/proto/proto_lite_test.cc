#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "containerd/events/task.pb.h"
#include "containerd/task/v3/task.pb.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace {

// The full runtime's Any can describe itself; the lite one has no such member.
template <typename T>
concept HasDescriptor = requires { T::descriptor(); };

TEST(ProtoLite, WellKnownTypesAreTheLiteOnes) {
  EXPECT_FALSE(HasDescriptor<google::protobuf::Any>);
  EXPECT_FALSE(HasDescriptor<google::protobuf::Empty>);
  EXPECT_FALSE(HasDescriptor<google::protobuf::Timestamp>);
  EXPECT_FALSE(HasDescriptor<containerd::task::v3::CreateTaskRequest>);
}

TEST(ProtoLite, MessagesSurviveARoundTrip) {
  containerd::events::TaskExit exit;
  exit.set_container_id("c1");
  exit.set_pid(42);
  exit.mutable_exited_at()->set_seconds(-62135596800);
  google::protobuf::Any any;
  any.set_type_url(exit.GetTypeName());
  exit.SerializeToString(any.mutable_value());
  EXPECT_EQ(any.type_url(), "containerd.events.TaskExit");

  containerd::events::TaskExit back;
  ASSERT_TRUE(back.ParseFromString(any.value()));
  EXPECT_EQ(back.container_id(), "c1");
  EXPECT_EQ(back.pid(), 42u);
  EXPECT_EQ(back.exited_at().seconds(), -62135596800);
}

TEST(ProtoLite, UnknownFieldsAreKept) {
  // Field 15, varint 7: no field of StartRequest.
  const std::string wire = std::string("\x0a\x01x\x78\x07", 5);
  containerd::task::v3::StartRequest request;
  ASSERT_TRUE(request.ParseFromString(wire));
  EXPECT_EQ(request.id(), "x");
  EXPECT_EQ(request.SerializeAsString(), wire);
}

}  // namespace
