package dev.sagaline;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON text into maps, lists, strings, booleans, null and numbers: a Long where it is a whole number that fits, else a
 * BigInteger or BigDecimal, so that no digit is lost.
 */
final class Json {
  private static final int DEPTH_MAX = 500;
  private static final int DIGITS_MAX = 10_000;

  private final String text;
  private int at;
  private int depth;

  private Json(String text) {
    this.text = text;
  }

  static Object parse(String text) {
    Json json = new Json(text);
    Object value = json.value();
    json.space();
    if (json.at < text.length()) {
      throw json.wrong("something follows the value");
    }
    return value;
  }

  private ConversionException wrong(String what) {
    return new ConversionException("no JSON at character " + at + ": " + what);
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private char peek() {
    space();
    if (at >= text.length()) {
      throw wrong("the text ends");
    }
    return text.charAt(at);
  }

  private void expect(char c) {
    if (peek() != c) {
      throw wrong("expected " + c);
    }
    at++;
  }

  private Object value() {
    char c = peek();
    return switch (c) {
      case '{' -> object();
      case '[' -> array();
      case '"' -> string();
      case 't' -> word("true", true);
      case 'f' -> word("false", false);
      case 'n' -> word("null", null);
      default -> number();
    };
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) {
      throw wrong("not a value");
    }
    at += word.length();
    return value;
  }

  private void enter() {
    at++;
    if (++depth > DEPTH_MAX) {
      throw wrong("nested deeper than " + DEPTH_MAX);
    }
  }

  private boolean ends(char close, boolean first) {
    char c = peek();
    if (c == close) {
      at++;
      depth--;
      return true;
    }
    if (!first) {
      expect(',');
    }
    return false;
  }

  private Map<String, Object> object() {
    enter();
    Map<String, Object> map = new LinkedHashMap<>();
    for (boolean first = true; !ends('}', first); first = false) {
      if (peek() != '"') {
        throw wrong("expected a name");
      }
      String name = string();
      expect(':');
      map.put(name, value());
    }
    return map;
  }

  private List<Object> array() {
    enter();
    List<Object> list = new ArrayList<>();
    for (boolean first = true; !ends(']', first); first = false) {
      list.add(value());
    }
    return list;
  }

  private String string() {
    StringBuilder result = new StringBuilder();
    at++;
    while (true) {
      if (at >= text.length()) {
        throw wrong("a string does not end");
      }
      char c = text.charAt(at++);
      if (c == '"') {
        return result.toString();
      }
      if (c < ' ') {
        throw wrong("a control character in a string");
      }
      result.append(c == '\\' ? escape() : c);
    }
  }

  private char escape() {
    char c = at < text.length() ? text.charAt(at++) : ' ';
    return switch (c) {
      case '"', '\\', '/' -> c;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        int code = 0;
        for (int i = 0; i < 4; i++) {
          int digit = at < text.length() ? Character.digit(text.charAt(at++), 16) : -1;
          if (digit < 0) {
            throw wrong("not four digits after \\u");
          }
          code = code * 16 + digit;
        }
        yield (char) code;
      }
      default -> throw wrong("an unknown escape");
    };
  }

  private Number number() {
    int start = at;
    if (text.charAt(at) == '-') {
      at++;
    }
    int whole = digits();
    if (whole > 1 && text.charAt(at - whole) == '0') {
      throw wrong("a number begins with 0");
    }
    boolean fraction = at < text.length() && text.charAt(at) == '.';
    if (fraction) {
      at++;
      digits();
    }
    boolean exponent = at < text.length() && (text.charAt(at) | 0x20) == 'e';
    if (exponent) {
      at++;
      if (at < text.length() && (text.charAt(at) == '+' || text.charAt(at) == '-')) {
        at++;
      }
      digits();
    }
    if (at - start > DIGITS_MAX) {
      throw wrong("a number of more than " + DIGITS_MAX + " characters");
    }
    String number = text.substring(start, at);
    try {
      if (fraction || exponent) {
        return new BigDecimal(number);
      }
      return number.length() < 19 ? (Number) Long.valueOf(number) : shrink(new BigInteger(number));
    } catch (NumberFormatException e) {
      throw wrong("a number out of all bounds");
    }
  }

  private static Number shrink(BigInteger number) {
    return number.bitLength() < 64 ? (Number) number.longValue() : number;
  }

  private int digits() {
    int start = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
      at++;
    }
    if (at == start) {
      throw wrong("not a value");
    }
    return at - start;
  }
}
