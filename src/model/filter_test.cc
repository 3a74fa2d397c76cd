#include "model/filter.h"

#include <gtest/gtest.h>

#include <map>

namespace corten::model {
namespace {

using Object = std::map<std::string, std::string>;  // "labels." in front of labels

bool Matches(const std::string& expression, const Object& object) {
  const Result<Filter> filter = Filter::Parse({expression});
  EXPECT_TRUE(filter.ok()) << expression << ": " << filter.error().text();
  return filter->Matches([&](const std::vector<std::string>& path) -> std::optional<std::string> {
    std::map<std::string, std::string> prefixed;
    return LookupLabel(object, path, 0);
  });
}

struct Case {
  const char* expression;
  const char* id;
  bool matches;
};

// Each line was answered so by containerd 2.3.4 for a lease of this id with labels l.a=1 and m=v.
TEST(Filter, AnswersAsContainerdDoes) {
  const Case cases[] = {
      {R"(id~=/a\/b/)", "a/b", true},
      {R"(id~=|a/b|)", "a/b", true},
      {R"(id~=|a\|b|)", "x y", false},
      {R"(id~=|a\|b|)", "abc", true},
      {R"(id~="^a\\d$")", "a1", true},
      {R"(id~="^a\\d$")", "abc", false},
      {R"(id~=^a\d$)", "a1", true},
      {R"(id~=/^a\\d$/)", "a1", true},
      {R"(id~=/a"b/)", "a\"b", true},
      {R"(id=="a\"b")", "a\"b", true},
      {R"(id==a"b)", "a\"b", true},
      {R"(id~=/a\nb/)", "a\nb", true},
      {R"(id=="a\nb")", "a\nb", true},
      {"id==é", "é", true},
      {R"(id=="\u00e9")", "é", true},
      {R"(id=="\xc3\xa9")", "é", true},
      {R"(id=="\xff")", "ÿ", false},
      {R"(id=="\141bc")", "abc", true},
      {R"(id=="\ud800")", "abc", false},
      {"id~=a|b", "a,b", true},
      {"id~=(", "abc", false},
      {"labels.l.a==1", "abc", true},
      {R"(labels."l.a"==1)", "abc", true},
      {R"(labels.l."a"==1)", "abc", true},
      {R"("labels".l.a)", "abc", true},
      {"labels.zz!=1,id==a1", "a1", true},
      {"labels.zz!=1,id==a1", "abc", false},
      {"labels.zz,id==a1", "a1", false},
      {"id!=a1", "a1", false},
      {"foo!=a", "abc", true},
      {"foo", "abc", false},
      {R"(foo=="")", "abc", false},
      {R"(id=="abc", labels.m)", "abc", true},
      {"id==abc, labels.m", "abc", true},
      {" id==abc", "abc", true},
      {"labels. m", "abc", true},
      {R"(labels."m" == v)", "abc", true},
      {"id=='abc'", "abc", false},
      {"id==\tabc", "abc", true},
      {"id ~= a", "abc", true},
      {R"(id~=/\//)", "a/b", true},
      {"id==é,labels.m", "é", true},
      {"id==a.", "a.", true},
      {"id==a=b", "a=b", true},
      {"", "abc", true},
  };
  for (const Case& one : cases) {
    const Object object = {{"id", one.id}, {"labels.l.a", "1"}, {"labels.m", "v"}};
    EXPECT_EQ(Matches(one.expression, object), one.matches) << one.expression << " on " << one.id;
  }
}

struct ErrorCase {
  std::string expression;
  std::string where;  // between the brackets
  std::string why;
};

// Golden: the texts of containerd 2.3.4.
TEST(Filter, ParseErrorsSayWhatContainerdSays) {
  const std::string op = R"(expected an operator ("=="|"!="|"~="))";
  const std::string field = "expected field or quoted";
  const std::string value = "expected value or quoted";
  const std::string open = "quoted literal not terminated";
  const ErrorCase cases[] = {
      {"name=", "name >|=|< ", R"(unsupported operator "=")"},
      {"name==", "name==", value},
      {"=x", " >|=|< x", field},
      {"name==a b", "name==a >| |< b", "unexpected input:  "},
      {R"(name=="a)", R"(name== >|"|< a)", open},
      {"name~=/a", "name~= >|/|< a", open},
      {"labels.", "labels.", field},
      {"name==a,", "name==a,", field},
      {",name==a", " >|,|< name==a", field},
      {"a b", "a  >|b|< ", op},
      {"name=~x", "name >|=|< ~x", R"(unsupported operator "=~")"},
      {R"(name=="\x")", R"(name== >|"|< \x")", "illegal numeric escape sequence"},
      {"name==/x/", "name== >|/|< x/", "invalid quote encountered"},
      {"name~=/x/y", "name~=/x/ >|y|< ", "unexpected input: y"},
      {"é==x", " >|\xEF\xBF\xBD|< \xEF\xBF\xBD==x", field},
      {"name==a ,labels.x", "name==a >| |< ,labels.x", "unexpected input:  "},
      {" ", " ", field},
      {"labels.a/b==c", "labels.a >|/|< b==c", open},
      {"a-b", "a >|-|< b", op},
      {R"(name=="a"b)", R"(name=="a" >|b|< )", "unexpected input: b"},
      {"|x|", " >|||< x|", "invalid quote encountered"},
      {"name==~", "name >|=|< =~", R"(unsupported operator "==~")"},
      {"name,,x", "name, >|,|< x", field},
      {"~=x", " >|~|< =x", field},
      {"id~=.", "id~= >|.|< ", value},
      {R"(id~=/^a\d$/)", R"(id~= >|/|< ^a\d$/)", "illegal escape sequence"},
      {R"(id=="\'")", R"(id== >|"|< \'")", "illegal escape sequence"},
      {"labels.m ", "labels.m ", op},
      {"labels .m", "labels  >|.|< m", op},
      {R"(id=="\400")", R"(id== >|"|< \400")", "unquoting failed: quote syntax error"},
      {R"(id=="\U00110000")", R"(id== >|"|< \U00110000")", "unquoting failed: quote syntax error"},
      {R"(id=="a\)", R"(id== >|"|< a\)", "illegal escape sequence"},
      {R"(id=="\12")", R"(id== >|"|< \12")", "illegal numeric escape sequence"},
      {"id | id", "id  >|||<  id", open},
      {R"(id=="a"é)", "id==\"a\" >|\xEF\xBF\xBD|< \xEF\xBF\xBD", "unexpected input: é"},
      {"id== =x", "id==  >|=|< x", value},
      {"id..x", "id. >|.|< x", field},
      {R"(id"a")", R"(id >|"|< a")", op},
      {"id==,x", "id== >|,|< x", value},
  };
  for (const ErrorCase& one : cases) {
    const Result<Filter> filter = Filter::Parse({one.expression});
    ASSERT_FALSE(filter.ok()) << one.expression;
    EXPECT_TRUE(filter.error().Is(Code::kInvalidArgument));
    EXPECT_EQ(filter.error().text(), "filters: parse error: [" + one.where + "]: " + one.why);
  }
}

TEST(Filter, BytesThatAreNoTextAreRefused) {
  EXPECT_FALSE(Filter::Parse({"id==\xff"}).ok());
  EXPECT_FALSE(Filter::Parse({std::string("id==a\0b", 7)}).ok());
  EXPECT_FALSE(Filter::Parse({std::string(2 << 20, 'a')}).ok());
}

TEST(Filter, SeveralExpressionsAreAlternatives) {
  const Filter filter = Filter::Parse({"id==a", "id==b"}).value();
  const auto matches = [&](const std::string& id) {
    return filter.Matches(
        [&](const std::vector<std::string>&) -> std::optional<std::string> { return id; });
  };
  EXPECT_TRUE(matches("a"));
  EXPECT_TRUE(matches("b"));
  EXPECT_FALSE(matches("c"));
  EXPECT_FALSE(filter.matches_all());
  EXPECT_TRUE(Filter::Parse({})->matches_all());
  EXPECT_TRUE(Filter::Parse({"id==a", ""})->matches_all());
}

}  // namespace
}  // namespace corten::model
