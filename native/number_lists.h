/* What Python calls of number_lists.c. cffi reads this file, too, so it holds declarations alone. */

#define MOST_RANK 8

/* A list that was cut out: its dimensions, and where its numbers begin among all numbers. They are int64 where every one
   of them is written as a whole number, and doubles elsewhere. */
typedef struct {
  int rank;
  int64_t dims[MOST_RANK];
  size_t start;
  size_t count;
  int is_whole;
} number_list;

#define UNSUITABLE -1

/* Copy a JSON text without its long lists of numbers: each that is regularly nested and at least `least` bytes long is
   replaced by the string "\u0000K", of which it is the K-th. Returns how many there are; or UNSUITABLE, where the text
   is of a form for others to judge: with escapes, with a list where the name of a member is due, with more than `most` such lists, with more than `room` numbers, or with
   a list that is ragged or holds something else than numbers.

   `rest` has room for `length` bytes, and `rest_length` gets how many there are; `least` is 12 at least. A valid text has
   one number more than commas, at most. Nothing but the lists is judged: the text is valid if the rest is. */
int cut_number_lists(const char *text, size_t length, size_t least, char *rest, size_t *rest_length, int64_t *numbers,
                     size_t room, number_list *lists, int most);
