# corten::grpc_static: gRPC with all it stands on, as archives, and libstdc++ with them.
#
# Static linking saves 5 MB resident and 6 ms of start against the shared libraries (docs/adr); the price is a
# rebuild for each security update of one of these packages.
#
# The archives need each other in circles (abseil), hence the group. Order inside it does not matter.
set(grpc_archives grpc++_unsecure grpc_unsecure gpr address_sorting upb re2 cares z)
set(abseil_archives
  bad_optional_access bad_variant_access base city civil_time cord cord_internal cordz_functions cordz_handle
  cordz_info debugging_internal demangle_internal exponential_biased graphcycles_internal hash
  hashtablez_sampler int128 log_severity low_level_hash malloc_internal random_distributions
  random_internal_platform random_internal_pool_urbg random_internal_randen random_internal_randen_hwaes
  random_internal_randen_hwaes_impl random_internal_randen_slow random_internal_seed_material
  random_seed_gen_exception random_seed_sequences raw_hash_set raw_logging_internal spinlock_wait stacktrace
  status statusor str_format_internal strerror strings strings_internal symbolize synchronization
  throw_delegate time time_zone)

set(archives)
foreach(name ${grpc_archives})
  find_library(CORTEN_LIB_${name}_A lib${name}.a REQUIRED)
  list(APPEND archives ${CORTEN_LIB_${name}_A})
endforeach()
foreach(name ${abseil_archives})
  find_library(CORTEN_LIB_absl_${name}_A libabsl_${name}.a REQUIRED)
  list(APPEND archives ${CORTEN_LIB_absl_${name}_A})
endforeach()

add_library(corten_grpc_static INTERFACE)
add_library(corten::grpc_static ALIAS corten_grpc_static)
target_link_libraries(corten_grpc_static INTERFACE
  -Wl,--start-group ${archives} ${CORTEN_PROTOBUF_A} -Wl,--end-group Threads::Threads ${CMAKE_DL_LIBS})
if(NOT CORTEN_SANITIZE)
  target_link_options(corten_grpc_static INTERFACE -static-libstdc++ -static-libgcc)
endif()
if(CORTEN_SANITIZE MATCHES thread)
  include(${CMAKE_CURRENT_LIST_DIR}/grpc_order.cmake)
endif()
