/* Long lists of numbers in a JSON text, read in one pass: values, nesting and the proof that it is regular.

   Decimals become the nearest double by the algorithm of Lemire, "Number Parsing at a Gigabyte per Second" (2021): the
   digits as an integer of 64 bits, times 128 bits of a power of five. Whatever that leaves in doubt, more than 19 digits
   and exponents that are out of the ordinary are UNSUITABLE, and read by others. No function touches Python. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "number_lists.h"

#include "powers_of_five.h" /* made by build.py: FIVES[q - SMALLEST_POWER] = {high, low}, from SMALLEST_POWER on */

#define MOST_DIGITS 19
#define FAR 65536 /* bytes of a list that was not to be cut after all, after which others read the text */

typedef struct {
  const char *at;
  const char *end;
} cursor;

#define EXACT_DIGITS ((uint64_t)1 << 53)
#define EXACT_POWER 22

/* Powers of ten that are doubles. */
static const double EXACT_TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The nearest double of digits times ten to a power, without sign; returns whether it is certain. */
static int nearest_double(uint64_t digits, int power, double *result) {
  if (digits <= EXACT_DIGITS && power <= 0 && power >= -EXACT_POWER) {
    *result = (double)digits / EXACT_TENS[-power]; /* of two doubles, and so rounded once */
    return 1;
  }
  uint64_t bits = 0;
  if (digits != 0) {
    if (power < SMALLEST_POWER || power > LARGEST_POWER) return 0;
    const uint64_t *five = FIVES[power - SMALLEST_POWER];
    int shift = __builtin_clzll(digits);
    uint64_t normal = digits << shift;
    unsigned __int128 product = (unsigned __int128)normal * five[0];
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1ff) == 0x1ff) { /* the lower half of the power may carry into the bits that count */
      uint64_t more = (uint64_t)(((unsigned __int128)normal * five[1]) >> 64);
      low += more;
      if (low < more) high++;
      if (low == UINT64_MAX) return 0;
    }
    int upper = (int)(high >> 63);
    uint64_t mantissa = high >> (upper + 9);
    int exponent = ((217706 * power) >> 16) + 63 + upper - shift + 1023;
    /* Exactly between two doubles: to the even one. */
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << (upper + 9) == high) mantissa &= ~(uint64_t)1;
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >= (uint64_t)1 << 53) {
      mantissa = (uint64_t)1 << 52;
      exponent++;
    }
    bits = ((uint64_t)exponent << 52) | (mantissa & (((uint64_t)1 << 52) - 1));
  }
  memcpy(result, &bits, sizeof bits);
  return 1;
}

static int is_digit(char one) { return (unsigned char)(one - '0') < 10; }

#define EACH_BYTE(one) (0x0101010101010101u * (one))

static const uint64_t TENS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* How many of eight bytes are digits, from the first one on. */
static int digits_in(uint64_t eight) {
  /* The highest bit of each byte that is no digit; what is carried spoils only bytes behind the first of them. */
  uint64_t others = ((eight + EACH_BYTE(0x46)) | (eight - EACH_BYTE(0x30))) & EACH_BYTE(0x80);
  uint64_t before = (others & -others) - 1; /* the bits of the digits; all, where there is nothing else */
  return (int)(((before & EACH_BYTE(0x80)) >> 7) * EACH_BYTE(1) >> 56);
}

/* The value of the first so many digits. */
static uint64_t value_of(uint64_t eight, int count) {
  int half = 4 * (8 - count);
  eight = (eight - EACH_BYTE(0x30)) << half << half; /* zeros in front; then pairs, fours, and all of them */
  eight = eight * 10 + (eight >> 8);
  return (uint32_t)(((eight & 0x000000ff000000ffu) * (100 + (1000000ull << 32)) +
                     ((eight >> 16) & 0x000000ff000000ffu) * (1 + (10000ull << 32))) >> 32);
}

/* Read digits behind those that there are; returns how many. Without branches for up to sixteen: how many a number has
   cannot be foreseen. */
static size_t read_digits(cursor *text, uint64_t *digits) {
  const char *start = text->at;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  while (text->end - text->at >= 16) {
    uint64_t first, second;
    memcpy(&first, text->at, sizeof first);
    memcpy(&second, text->at + 8, sizeof second);
    int count = digits_in(first), more = digits_in(second) & -(count >> 3);
    *digits = (*digits * TENS[count] + value_of(first, count)) * TENS[more] + value_of(second, more);
    text->at += count + more;
    if (count + more < 16) return (size_t)(text->at - start);
  }
#endif
  while (text->at < text->end && is_digit(*text->at)) *digits = *digits * 10 + (uint64_t)(*text->at++ - '0');
  return (size_t)(text->at - start);
}

/* The same for whole numbers, which seldom have more than seven digits. */
static size_t read_few_digits(cursor *text, uint64_t *digits) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (text->end - text->at >= 8) {
    uint64_t eight;
    memcpy(&eight, text->at, sizeof eight);
    int count = digits_in(eight);
    if (count < 8) {
      *digits = value_of(eight, count);
      text->at += count;
      return (size_t)count;
    }
  }
#endif
  return read_digits(text, digits);
}

typedef enum { NO_NUMBER, WHOLE, DECIMAL } kind;

/* Read a number as JSON has it. A whole number that int64 cannot hold is none. */
static kind read_number(cursor *text, int64_t *whole, double *decimal) {
  uint64_t digits = 0;
  int64_t power = 0;
  int is_negative = *text->at == '-';
  text->at += is_negative;
  const char *first = text->at;
  size_t count = 1, fraction = 0;
  if (text->end - text->at > 2 && is_digit(*first) && first[1] == '.') {
    digits = (uint64_t)(*text->at++ - '0'); /* as nearly all numbers between zero and one begin */
  } else {
    count = read_few_digits(text, &digits);
  }
  if (count == 0 || (count > 1 && *first == '0')) return NO_NUMBER;
  int has_point = text->at < text->end && *text->at == '.';
  if (has_point) {
    text->at++;
    fraction = read_digits(text, &digits);
    if (fraction == 0) return NO_NUMBER;
  }
  if (count + fraction > MOST_DIGITS) {
    /* Zeros in front are no digits that count. */
    while (first < text->at && (*first == '0' || *first == '.')) count -= *first++ == '0';
    if ((int64_t)count + (int64_t)fraction > MOST_DIGITS) return NO_NUMBER;
  }
  int has_exponent = text->at < text->end && (*text->at | 0x20) == 'e';
  if (has_exponent) {
    text->at++;
    int is_below = text->at < text->end && *text->at == '-';
    if (text->at < text->end && (*text->at == '-' || *text->at == '+')) text->at++;
    uint64_t size = 0;
    size_t places = read_digits(text, &size);
    if (places == 0 || places > 4) return NO_NUMBER;
    power = is_below ? -(int64_t)size : (int64_t)size;
  }
  if (!has_point && !has_exponent) {
    if (digits > (uint64_t)INT64_MAX) return NO_NUMBER;
    *whole = is_negative ? -(int64_t)digits : (int64_t)digits;
    return WHOLE;
  }
  power -= (int64_t)fraction;
  if (power < -1000 || !nearest_double(digits, (int)power, decimal)) return NO_NUMBER;
  if (is_negative) *decimal = -*decimal;
  return DECIMAL;
}

static void skip_blanks(cursor *text) {
  while (text->at < text->end && *text->at <= ' ') {
    if (*text->at != ' ' && *text->at != '\n' && *text->at != '\r' && *text->at != '\t') return;
    text->at++;
  }
}

/* Once a number is not whole, those before it become doubles, too. */
static void make_doubles(int64_t *numbers, size_t count) {
  for (size_t at = 0; at < count; at++) {
    double same = (double)numbers[at];
    memcpy(&numbers[at], &same, sizeof same);
  }
}

/* Read what is behind a value: the ends of lists, each as long as the others of its depth, and then a comma, unless the
   outermost one has ended. */
static int read_ends(cursor *text, int64_t *sizes, int64_t *dims, int *depth) {
  for (;;) {
    skip_blanks(text);
    if (text->at == text->end) return 0;
    char mark = *text->at++;
    if (mark == ',') return 1;
    if (mark != ']') return 0;
    --*depth;
    if (dims[*depth] == 0) dims[*depth] = sizes[*depth];
    if (dims[*depth] != sizes[*depth]) return 0;
    if (*depth == 0) return 1;
    sizes[*depth - 1]++;
  }
}

/* Read a list from its bracket on; returns whether it is regular and holds numbers alone, of which there is one at
   least. The cursor stands behind it, or where it was found out. */
static int read_list(cursor *text, int64_t *numbers, size_t room, number_list *list) {
  cursor here = *text;
  int64_t sizes[MOST_RANK], dims[MOST_RANK] = {0};
  int depth = 0, leaves = 0; /* at which depth the numbers stand; 0 before the first one */
  size_t count = 0;
  int is_whole = 1, is_regular = 0;
  for (;;) { /* at each turn, a value is due */
    skip_blanks(&here);
    if (here.at == here.end) break;
    if (*here.at == '[') {
      if (depth == MOST_RANK || (leaves != 0 && depth == leaves)) break;
      sizes[depth++] = 0;
      here.at++;
      continue;
    }
    if (depth == 0 || (leaves != 0 && depth != leaves) || count == room) break;
    leaves = depth;
    int64_t whole = 0;
    double decimal = 0;
    kind found = read_number(&here, &whole, &decimal);
    if (found == NO_NUMBER) break;
    if (found == DECIMAL && is_whole) {
      make_doubles(numbers, count);
      is_whole = 0;
    }
    if (found == WHOLE) decimal = (double)whole;
    if (is_whole) {
      numbers[count++] = whole;
    } else {
      memcpy(&numbers[count++], &decimal, sizeof decimal);
    }
    sizes[depth - 1]++;
    if (!read_ends(&here, sizes, dims, &depth)) break;
    if (depth == 0) {
      is_regular = 1;
      break;
    }
  }
  text->at = here.at;
  *list = (number_list){.rank = leaves, .start = list->start, .count = count, .is_whole = is_whole};
  memcpy(list->dims, dims, sizeof dims);
  return is_regular;
}

int cut_number_lists(const char *text, size_t length, size_t least, char *rest, size_t *rest_length, int64_t *numbers,
                     size_t room, number_list *lists, int most) {
  const char *end = text + length, *at = text;
  char *to = rest;
  int count = 0, is_inside = 0; /* a string */
  size_t taken = 0;
  while (at < end) {
    if (*at == '\\') return UNSUITABLE;
    if (*at == '"') is_inside = !is_inside;
    if (is_inside || *at != '[') {
      *to++ = *at++;
      continue;
    }
    cursor reading = {at, end};
    number_list list = {.start = taken};
    if (!read_list(&reading, numbers + taken, room - taken, &list)) {
      if (reading.at - at > FAR) return UNSUITABLE;
      *to++ = *at++;
    } else if ((size_t)(reading.at - at) < least) {
      memcpy(to, at, (size_t)(reading.at - at));
      to += reading.at - at;
      at = reading.at;
    } else {
      if (count == most) return UNSUITABLE;
      skip_blanks(&reading);
      if (reading.at < end && *reading.at == ':') return UNSUITABLE; /* the string would be the name of a member */
      to += sprintf(to, "\"\\u0000%d\"", count);
      lists[count++] = list;
      taken += list.count;
      at = reading.at;
    }
  }
  *rest_length = (size_t)(to - rest);
  return count;
}
