"""The checks of the house see what they are there to see."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import check_layers  # noqa: E402
import check_links  # noqa: E402
import check_style  # noqa: E402

LAYERS = {"base": {}, "content": {"base": "all"}, "image": {"base": "all", "content": "contract"},
          "daemon": {"*": "all"}, "cli": {}, "shim": {"base": "all"}}


class Layers(unittest.TestCase):
    def why(self, room, include, is_test=False):
        return check_layers.check_arrow(LAYERS, room, include, is_test)

    def test_arrows_go_down_only(self):
        self.assertIsNone(self.why("content", "base/error.h"))
        self.assertIn("may not include", self.why("base", "content/store.h"))

    def test_a_star_means_the_contract_only(self):
        self.assertIsNone(self.why("image", "content/store.h"))
        self.assertIn("contract", self.why("image", "content/local/store.h"))

    def test_nothing_includes_a_program(self):
        self.assertIn("nothing may include", self.why("daemon", "cli/verb.h"))
        self.assertIn("nothing may include", self.why("content", "daemon/main.h", is_test=True))

    def test_tests_may_look_around(self):
        self.assertIsNone(self.why("image", "content/local/store.h", is_test=True))

    def test_libraries_stay_in_their_rooms(self):
        def found(room, path, include):
            return list(check_layers.check_libraries(room, path, [include]))
        self.assertTrue(found("content", "content/store.cc", "grpcpp/grpcpp.h"))
        self.assertTrue(found("model", "model/any.cc", "google/protobuf/any.pb.h"))
        self.assertTrue(found("image", "image/pull.h", "nlohmann/json.hpp"))
        self.assertTrue(found("services", "services/x.h", "containerd/x.grpc.pb.h"))
        self.assertFalse(found("services", "services/x.cc", "containerd/x.grpc.pb.h"))


class Style(unittest.TestCase):
    def lines(self, code):
        return list(check_style.misplaced_try(check_style.code_only(code)))

    def test_try_as_a_whole_is_fine(self):
        self.assertEqual([], self.lines("int x = TRY(F());\nTRY(G(1, (2)));\nif (a) TRY(H());\nx = TRY(F());\nreturn TRY(F());"))

    def test_try_as_the_step_of_a_for_is_fine(self):
        self.assertEqual([], self.lines("for (auto e = TRY(c.First()); e; e = TRY(c.Next())) {\n}"))
        self.assertEqual([1], self.lines("for (;; F(TRY(c.Next()))) {\n}"))
        self.assertEqual([1], self.lines("if (a == TRY(F())) {\n}"))

    def test_try_inside_something_is_found(self):
        self.assertEqual([1, 2, 3, 4], self.lines("F(TRY(G()));\nS s{TRY(G()), 1};\nint x = TRY(G()) + 1;\nS t{.a = TRY(G())};"))

    def test_try_in_comments_and_strings_is_text(self):
        self.assertEqual([], self.lines('// F(TRY(G()));\nconst char* s = "F(TRY(x))";\n'))

    def test_long_functions_are_found(self):
        body = "int F() {\n" + "  x();\n" * 61 + "}\n"
        self.assertEqual([(1, 62)], list(check_style.long_functions(body)))
        self.assertEqual([], list(check_style.long_functions("namespace a {\n" + "int x;\n" * 99 + "}\n")))

    def test_paths_and_drawers_are_found(self):
        rules = [rule for rule, _, fatal in check_style.check_file("src/a/path_util.cc", "// /srv/tree/x\n", ["/srv/tree/"]) if fatal]
        self.assertEqual(["path", "drawer"], rules)


class Links(unittest.TestCase):
    NINJA = ("build src/shim/containerd-shim-runc-v2: CXX_EXECUTABLE_LINKER__s_ a.o | x.a || x.a\n"
             "  LINK_FLAGS = -static\n  LINK_LIBRARIES = {}\n\n")

    def problems(self, libraries):
        found = list(check_links.programs(self.NINJA.format(libraries)))
        self.assertEqual(1, len(found))
        return list(check_links.check(*found[0]))

    def test_lite_alone_is_fine(self):
        self.assertEqual([], self.problems("src/proto/libcorten_proto_lite.a /usr/lib/libprotobuf-lite.a"))

    def test_both_protos_or_grpc_are_found(self):
        self.assertEqual(2, len(self.problems("src/proto/libcorten_proto_lite.a src/proto/libcorten_proto_msgs.a")))
        self.assertEqual(1, len(self.problems("/usr/lib/libgrpc++.a")))

    def test_the_shim_is_static_but_with_a_sanitizer(self):
        for flags, count in (("-static", 0), ("-fuse-ld=mold", 1), ("-fsanitize=thread", 0)):
            words = ["src/proto/libcorten_proto_lite.a", flags]
            self.assertEqual(count, len(list(check_links.check("src/shim/containerd-shim-runc-v2", words))))


if __name__ == "__main__":
    unittest.main()
