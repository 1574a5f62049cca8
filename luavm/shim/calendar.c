//go:build cgo && luajit

/*
 * calendar.c: dates as HTTP, cookies and ngx.localtime write them.
 *
 * Days are counted by the proleptic Gregorian calendar in eras of 400 years
 * that begin on March 1, so that the leap day is the last of its year:
 *
 *   era: 146097 days     March = month 0 ... February = month 11
 *   first day of month m within such a year: (153 m + 2) / 5
 */
#include "text.h"

#include <string.h>
#include <time.h>

static const char week_days[7][4] = {"Sun", "Mon", "Tue", "Wed",
                                     "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr",
                                        "May", "Jun", "Jul", "Aug",
                                        "Sep", "Oct", "Nov", "Dec"};

enum { DAY = 86400, ERA = 146097, DAYS_TO_1970 = 719468 };
/* ngx_gmtime's bounds: 1970 to the end of 9999 */
static const double last_second = 253402300799.0;

typedef struct moment {
  int year, month, day;          /* month and day count from 1 */
  int hour, minute, second, week_day;
} moment;

static void split(int64_t t, moment *m) {
  int64_t days = t / DAY + DAYS_TO_1970;       /* since March 1, year 0 */
  int rest = (int)(t % DAY);
  int era = (int)(days / ERA), in_era = (int)(days % ERA);
  int year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  int in_year = in_era - (365 * year + year / 4 - year / 100);
  int month = (5 * in_year + 2) / 153;
  m->day = in_year - (153 * month + 2) / 5 + 1;
  m->month = month < 10 ? month + 3 : month - 9;
  m->year = era * 400 + year + (month >= 10);
  m->hour = rest / 3600;
  m->minute = rest / 60 % 60;
  m->second = rest % 60;
  m->week_day = (int)((t / DAY + 4) % 7);
}

static int64_t days_of(int year, int month, int day) {
  year -= month < 3;
  int era = (year >= 0 ? year : year - 399) / 400, in_cycle = year - era * 400;
  int in_year = (153 * (month < 3 ? month + 9 : month - 3) + 2) / 5 + day - 1;
  return (int64_t)era * ERA + in_cycle * 365 + in_cycle / 4 - in_cycle / 100 +
         in_year - DAYS_TO_1970;
}

/* ---- writing ---- */

static char *digits(char *to, int n, int width) {
  for (int i = width - 1; i >= 0; i--, n /= 10) to[i] = (char)('0' + n % 10);
  return to + width;
}

static char *clock_time(char *to, const moment *m) {
  to = digits(to, m->hour, 2);
  *to++ = ':';
  to = digits(to, m->minute, 2);
  *to++ = ':';
  return digits(to, m->second, 2);
}

static char *iso_date(char *to, const moment *m) {
  to = digits(to, m->year, 4);
  *to++ = '-';
  to = digits(to, m->month, 2);
  *to++ = '-';
  return digits(to, m->day, 2);
}

/* cookie: '-' between the parts, and two digits of the year up to 2037 (old
   browsers took later ones for the past century) */
static char *http_date(char *to, const moment *m, int cookie) {
  char gap = cookie ? '-' : ' ';
  memcpy(to, week_days[m->week_day], 3);
  memcpy(to + 3, ", ", 2);
  to = digits(to + 5, m->day, 2);
  *to++ = gap;
  memcpy(to, month_names[m->month - 1], 3);
  to += 3;
  *to++ = gap;
  if (cookie && m->year <= 2037) to = digits(to, m->year % 100, 2);
  else to = digits(to, m->year, 4);
  *to++ = ' ';
  to = clock_time(to, m);
  memcpy(to, " GMT", 4);
  return to + 4;
}

static int64_t clamp(double sec) {
  if (!(sec > 0)) return 0;
  return (int64_t)(sec < last_second ? sec : last_second);
}

uint32_t pg_format_time(double sec, int32_t form, char *dst) {
  int64_t t = clamp(sec);
  moment m;
  char *to;
  if (form == PG_TIME_DATE || form == PG_TIME_LOCAL) {
    struct tm tm;
    time_t seconds = (time_t)t;
    if (localtime_r(&seconds, &tm)) t = clamp((double)(t + tm.tm_gmtoff));
  }
  split(t, &m);
  switch (form) {
  case PG_TIME_HTTP: to = http_date(dst, &m, 0); break;
  case PG_TIME_COOKIE: to = http_date(dst, &m, 1); break;
  default:
    to = iso_date(dst, &m);
    if (form != PG_TIME_DATE) {
      *to++ = ' ';
      to = clock_time(to, &m);
    }
  }
  return (uint32_t)(to - dst);
}

/* ---- reading ---- */

typedef struct text { const char *p, *end; } text;

/* A number of exactly n digits, or -1. */
static int number(text *t, int n) {
  int v = 0;
  if (t->end - t->p < n) return -1;
  for (; n; n--, t->p++) {
    if (*t->p < '0' || *t->p > '9') return -1;
    v = v * 10 + (*t->p - '0');
  }
  return v;
}

static int sign(text *t, char c) {
  return t->p < t->end && *t->p++ == c;
}

static int month_of(text *t) {
  if (t->end - t->p < 3) return -1;
  for (int i = 0; i < 12; i++) {
    if (memcmp(t->p, month_names[i], 3)) continue;
    t->p += 3;
    return i + 1;
  }
  return -1;
}

/* "hh:mm:ss" */
static int read_clock(text *t, moment *m) {
  m->hour = number(t, 2);
  if (!sign(t, ':')) return 0;
  m->minute = number(t, 2);
  if (!sign(t, ':')) return 0;
  m->second = number(t, 2);
  return m->hour >= 0 && m->minute >= 0 && m->second >= 0 && m->hour < 24 &&
         m->minute < 60 && m->second < 60;
}

/* "10 Nov 2002 23:50:13", "10-Dec-02 23:50:13" */
static int read_dated(text *t, moment *m) {
  m->day = number(t, 2);
  char gap = t->p < t->end ? *t->p++ : 0;
  if (gap != ' ' && gap != '-') return 0;
  m->month = month_of(t);
  if (!sign(t, gap)) return 0;
  m->year = number(t, gap == ' ' ? 4 : 2);
  if (m->year < 0 || !sign(t, ' ')) return 0;
  if (gap == '-') m->year += m->year < 70 ? 2000 : 1900;
  return read_clock(t, m);
}

/* "Dec 10 23:50:13 2002", asctime's; a day below 10 has a blank before it */
static int read_asctime(text *t, moment *m) {
  m->month = month_of(t);
  if (!sign(t, ' ')) return 0;
  if (t->p < t->end && *t->p == ' ') t->p++;
  m->day = t->end - t->p > 1 && t->p[1] == ' ' ? number(t, 1) : number(t, 2);
  if (!sign(t, ' ') || !read_clock(t, m) || !sign(t, ' ')) return 0;
  m->year = number(t, 4);
  return m->year >= 0;
}

static int month_days(int year, int month) {
  static const uint8_t days[12] = {31, 28, 31, 30, 31, 30,
                                   31, 31, 30, 31, 30, 31};
  int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return days[month - 1] + (month == 2 && leap);
}

/* The three forms of RFC 9110 5.6.7, read as ngx_http_parse_time does: the
   name of the week day is not looked at, nor what follows the time. Stricter
   in one thing: months have their names and days begin at 1. */
double pg_parse_http_time(const char *s, uint32_t n) {
  text t = {s, s + n};
  moment m = {0};
  while (t.p < t.end && *t.p != ',' && *t.p != ' ') t.p++;
  int asctime_form = t.p < t.end && *t.p == ' ';
  if (t.p < t.end) t.p++;
  while (t.p < t.end && *t.p == ' ') t.p++;
  if (!(asctime_form ? read_asctime(&t, &m) : read_dated(&t, &m))) return -1;
  if (m.month < 1 || m.day < 1 || m.day > month_days(m.year, m.month))
    return -1;
  return (double)(days_of(m.year, m.month, m.day) * DAY + m.hour * 3600 +
                  m.minute * 60 + m.second);
}
