# Under ThreadSanitizer: Debian's gRPC archives are not instrumented, so it cannot see that what was done before a batch of a
# call is started comes before the batch's callback. The two headers where both ends pass through our own object files are
# copied into the build directory with that order written in: __tsan_release where a batch starts, __tsan_acquire where its
# callback runs, both on the batch's tag. What orders one batch says nothing of another: races of ours are still found.
function(corten_grpc_header header)
  find_path(CORTEN_GRPCPP_DIR grpcpp/grpcpp.h REQUIRED)
  file(READ ${CORTEN_GRPCPP_DIR}/${header} text)
  set(edits ${ARGN})
  while(edits)
    list(POP_FRONT edits before after)
    string(FIND "${text}" "${before}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "${header} has no `${before}`: this gRPC is not the one that src/proto/grpc_order.cmake knows")
    endif()
    string(REPLACE "${before}" "${after}" text "${text}")
  endwhile()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/grpc_order/${header} @ONLY
       CONTENT "#pragma GCC system_header\n#include <sanitizer/tsan_interface.h>\n@text@")
endfunction()

set(start "g_core_codegen_interface->grpc_call_start_batch(")
corten_grpc_header(grpcpp/impl/call_op_set.h
  "${start}" "(__tsan_release(core_cq_tag()), g_core_codegen_interface)->grpc_call_start_batch(")
corten_grpc_header(grpcpp/support/callback_common.h
  "->Run(static_cast<bool>(ok))" "->Run((__tsan_acquire(cb), static_cast<bool>(ok)))")
target_include_directories(corten_grpc_static BEFORE INTERFACE ${CMAKE_BINARY_DIR}/grpc_order)
