/* Drives native/number_lists.c, for sanitizers to watch: with decimals of every kind, which strtod reads, too, and with
   texts that are damaged anywhere. All buffers are exactly as large as they must be, so that one byte too many is seen.

   Usage: drive_number_lists THREADS ROUNDS SEED. Ends with 1 and a text where a number is wrong. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number_lists.h"

#define MOST 4
#define EXPECT(claim, text) \
  if (!(claim)) fail(#claim, __LINE__, text)

static void fail(const char *claim, int line, const char *text) {
  fprintf(stderr, "line %d: %s: %.2000s\n", line, claim, text);
  exit(1);
}

static unsigned next(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(*seed >> 33);
}

static char *digits(uint64_t *seed, char *to, int count) {
  for (int at = 0; at < count; at++) *to++ = (char)('0' + next(seed) % 10);
  return to;
}

/* A number as JSON has it, of up to twenty digits and any exponent, sometimes close to what lies between two doubles. */
static char *some_number(uint64_t *seed, char *to) {
  if (next(seed) % 4 == 0) {
    uint64_t bits = ((uint64_t)next(seed) << 32 | next(seed)) & 0x7fffffffffffffffu;
    double value;
    bits = (bits & 0x800fffffffffffffu) | (uint64_t)(1023 - 60 + next(seed) % 120) << 52;
    memcpy(&value, &bits, sizeof value);
    return to + sprintf(to, next(seed) % 2 == 0 ? "%.17g" : "%.16e", value);
  }
  if (next(seed) % 2 == 0) *to++ = '-';
  int whole = 1 + (int)(next(seed) % (next(seed) % 2 == 0 ? 2 : 10));
  *to = '0';
  if (whole == 1) to = digits(seed, to, 1);
  else *to = (char)('1' + next(seed) % 9), to = digits(seed, to + 1, whole - 1);
  if (next(seed) % 3 > 0) *to++ = '.', to = digits(seed, to, 1 + (int)(next(seed) % 19));
  if (next(seed) % 4 == 0) to += sprintf(to, "%c%s%u", "eE"[next(seed) % 2], &"\0-\0+"[next(seed) % 3], next(seed) % 40);
  return to;
}

static int cut(const char *text, size_t length, number_list *lists, int64_t **numbers, char **rest, size_t *left) {
  size_t commas = 0;
  for (size_t at = 0; at < length; at++) commas += text[at] == ',';
  char *exact = malloc(length);
  memcpy(exact, text, length);
  *numbers = malloc((commas + 1) * sizeof **numbers);
  *rest = malloc(length);
  int count = cut_number_lists(exact, length, 12, *rest, left, *numbers, commas + 1, lists, MOST);
  EXPECT(count >= UNSUITABLE && count <= MOST, text);
  EXPECT(count == UNSUITABLE || *left <= length, text);
  free(exact);
  return count;
}

static void one_list(uint64_t *seed) {
  enum { COUNT = 6 };
  char text[COUNT * 64 + 16], *end = text;
  double expected[COUNT];
  *end++ = '[';
  int is_whole = 1;
  for (int at = 0; at < COUNT; at++) {
    char *start = end;
    end = some_number(seed, end);
    *end = '\0';
    expected[at] = strtod(start, NULL);
    is_whole &= strpbrk(start, ".eE") == NULL;
    for (unsigned blanks = next(seed) % 8 == 0 ? next(seed) % 3 : 0; blanks > 0; blanks--) *end++ = " \n\r\t"[next(seed) % 4];
    *end++ = at < COUNT - 1 ? ',' : ']';
  }
  *end = '\0';
  number_list lists[MOST];
  int64_t *numbers;
  char *rest;
  size_t left;
  if (cut(text, (size_t)(end - text), lists, &numbers, &rest, &left) == 1) {
    EXPECT(lists[0].rank == 1 && lists[0].dims[0] == COUNT && lists[0].count == COUNT, text);
    EXPECT(lists[0].is_whole == is_whole, text);
    for (int at = 0; at < COUNT; at++) {
      double value;
      memcpy(&value, &numbers[at], sizeof value);
      if (is_whole) value = (double)numbers[at];
      EXPECT(value == expected[at], text);
    }
  }
  free(numbers), free(rest);
}

/* Any text that begins as a request might; then some of its bytes are others, or it ends early. */
static void one_text(uint64_t *seed) {
  static const char *const PARTS[] = {"[", "[", "]", "]", ",", ",", "{", "}", "\"instances\":", "\"", " ", "1", "0.5",
                                      "-7", "[1,2],[3,4]", "[[1.5,2],[3,4]]", "1e5", "null", "[1,[2]]", "[[1],[2,3]]",
                                      "12345678901234567890", "[[[[[[[[[1]]]]]]]]]", "\\", ".", "e", "\xff"};
  char text[1024], *end = text;
  for (unsigned parts = next(seed) % 40; parts > 0; parts--) {
    const char *part = PARTS[next(seed) % (sizeof PARTS / sizeof *PARTS)];
    end = strcpy(end, part) + strlen(part);
  }
  if (end > text && next(seed) % 2 == 0) text[next(seed) % (unsigned)(end - text)] = (char)next(seed);
  number_list lists[MOST];
  int64_t *numbers;
  char *rest;
  size_t left, taken = 0;
  int count = cut(text, (size_t)(end - text), lists, &numbers, &rest, &left);
  for (int at = 0; at < count; at++) {
    size_t elements = 1;
    for (int axis = 0; axis < lists[at].rank; axis++) elements *= (size_t)lists[at].dims[axis];
    EXPECT(lists[at].rank >= 1 && lists[at].rank <= MOST_RANK, text);
    EXPECT(elements == lists[at].count && lists[at].start == taken, text);
    taken += elements;
  }
  free(numbers), free(rest);
}

typedef struct {
  uint64_t seed;
  int rounds;
} work;

static void *drive(void *given) {
  work *mine = given;
  for (int at = 0; at < mine->rounds; at++) one_list(&mine->seed), one_text(&mine->seed);
  return NULL;
}

int main(int count, char **arguments) {
  EXPECT(count == 4, "");
  int threads = atoi(arguments[1]), rounds = atoi(arguments[2]), seed = atoi(arguments[3]);
  pthread_t *running = malloc((size_t)threads * sizeof *running);
  work *shares = malloc((size_t)threads * sizeof *shares);
  for (int at = 0; at < threads; at++) {
    shares[at] = (work){(uint64_t)(seed + at), rounds};
    EXPECT(pthread_create(&running[at], NULL, drive, &shares[at]) == 0, "");
  }
  for (int at = 0; at < threads; at++) pthread_join(running[at], NULL);
  free(running), free(shares);
  printf("%d threads, %d rounds each: nothing wrong\n", threads, rounds);
  return 0;
}
