#include "cli/message_json.h"

#include <google/protobuf/descriptor.h>

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "image/auth.h"

namespace corten::cli {

namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string TextOf(const FieldDescriptor& field, const std::string& text) {
  return field.type() == FieldDescriptor::TYPE_BYTES ? image::Base64(text) : text;
}

Json Single(const Message& message, const Reflection& reflection, const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetEnumValue(message, field);
    case FieldDescriptor::CPPTYPE_STRING:
      return TextOf(*field, reflection.GetString(message, field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageTree(reflection.GetMessage(message, field));
  }
  return {};
}

Json Element(const Message& message, const Reflection& reflection, const FieldDescriptor* field,
             int i) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetRepeatedInt32(message, field, i);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.GetRepeatedInt64(message, field, i);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetRepeatedUInt32(message, field, i);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.GetRepeatedUInt64(message, field, i);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetRepeatedDouble(message, field, i);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection.GetRepeatedFloat(message, field, i);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetRepeatedBool(message, field, i);
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetRepeatedEnumValue(message, field, i);
    case FieldDescriptor::CPPTYPE_STRING:
      return TextOf(*field, reflection.GetRepeatedString(message, field, i));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageTree(reflection.GetRepeatedMessage(message, field, i));
  }
  return {};
}

// Keys in byte order; keys that are no strings in decimal.
Json MapField(const Message& message, const Reflection& reflection, const FieldDescriptor* field) {
  std::map<std::string, Json> sorted;
  for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, field, i);
    const auto* type = entry.GetDescriptor();
    const Json key = Single(entry, *entry.GetReflection(), type->FindFieldByName("key"));
    sorted[key.is_string() ? key.get<std::string>() : key.dump()] =
        Single(entry, *entry.GetReflection(), type->FindFieldByName("value"));
  }
  Json out = Json::object();
  for (auto& [key, value] : sorted) out[key] = std::move(value);
  return out;
}

}  // namespace

Json MessageTree(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  Json out = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    if (!field->is_repeated()) {
      if (reflection.HasField(message, field))
        out[field->name()] = Single(message, reflection, field);
      continue;
    }
    const int size = reflection.FieldSize(message, field);
    if (size == 0) continue;
    if (field->is_map()) {
      out[field->name()] = MapField(message, reflection, field);
      continue;
    }
    Json list = Json::array();
    for (int k = 0; k < size; ++k) list.push_back(Element(message, reflection, field, k));
    out[field->name()] = std::move(list);
  }
  return out;
}

}  // namespace corten::cli
