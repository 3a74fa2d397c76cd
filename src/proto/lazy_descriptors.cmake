# Takes out of FILE, made by protoc, the object that parses the file's descriptors at every start. They are parsed when
# descriptor() or reflection first asks, as protobuf does for its own descriptor.proto; messages themselves need none.
file(READ ${FILE} text)
string(REGEX REPLACE "\n// Force running AddDescriptors[^\n]*\nPROTOBUF_ATTRIBUTE_INIT_PRIORITY2 static [^\n]*AddDescriptorsRunner [^\n]*\n"
       "\n" lazy "${text}")
if(lazy STREQUAL text)
  message(FATAL_ERROR "${FILE}: protoc no longer writes what lazy_descriptors.cmake takes out")
endif()
file(WRITE ${FILE} "${lazy}")
