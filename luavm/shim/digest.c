//go:build cgo && luajit

/*
 * digest.c: MD5 (RFC 1321), SHA-1 (RFC 3174), HMAC-SHA-1 (RFC 2104) and
 * CRC-32 (IEEE 802.3, reflected, as zlib's). For keys, ETags and old APIs
 * that ask for them; neither MD5 nor SHA-1 is to be trusted with secrets.
 *
 * MD5 and SHA-1 are the same construction: 64-byte blocks change a state of
 * four or five words, the last block carries the length in bits. The walk
 * over blocks is shared; each has its own block function and byte order.
 */
#include "text.h"

#include <string.h>

static inline uint32_t rol(uint32_t x, uint32_t n) {
  return x << n | x >> (32 - n);
}

static inline uint32_t le32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
         (uint32_t)p[3] << 24;
}

static inline uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 |
         (uint32_t)p[0] << 24;
}

typedef void block_fn(uint32_t *state, const uint8_t *block);

/* ---- MD5 ---- */

/* floor(2^32 * abs(sin(i + 1))), RFC 1321 3.4 */
static const uint32_t md5_sine[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
    0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
    0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

static const uint8_t md5_shift[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static void md5_block(uint32_t *state, const uint8_t *block) {
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  for (uint32_t i = 0; i < 64; i++) {
    uint32_t f, word;
    switch (i >> 4) {
    case 0: f = (b & c) | (~b & d); word = i; break;
    case 1: f = (d & b) | (~d & c); word = (5 * i + 1) & 15; break;
    case 2: f = b ^ c ^ d; word = (3 * i + 5) & 15; break;
    default: f = c ^ (b | ~d); word = (7 * i) & 15;
    }
    uint32_t next = b + rol(a + f + md5_sine[i] + le32(block + 4 * word),
                            md5_shift[i >> 4][i & 3]);
    a = d;
    d = c;
    c = b;
    b = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

/* ---- SHA-1 ---- */

static void sha1_block(uint32_t *state, const uint8_t *block) {
  uint32_t w[80];
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3],
           e = state[4];
  for (uint32_t i = 0; i < 16; i++) w[i] = be32(block + 4 * i);
  for (uint32_t i = 16; i < 80; i++)
    w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (uint32_t i = 0; i < 80; i++) {
    uint32_t f;
    if (i < 20) f = ((b & c) | (~b & d)) + 0x5a827999;
    else if (i < 40) f = (b ^ c ^ d) + 0x6ed9eba1;
    else if (i < 60) f = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    else f = (b ^ c ^ d) + 0xca62c1d6;
    uint32_t next = rol(a, 5) + f + e + w[i];
    e = d;
    d = c;
    c = rol(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

/* ---- the walk ---- */

typedef struct digest {
  uint32_t state[5];
  uint64_t total;                /* bytes so far */
  uint8_t rest[64];              /* total % 64 of them wait here */
  block_fn *block;
} digest;

static const uint32_t start_state[5] = {0x67452301, 0xefcdab89, 0x98badcfe,
                                        0x10325476, 0xc3d2e1f0};

static void begin(digest *g, block_fn *block) {
  memcpy(g->state, start_state, sizeof start_state);
  g->total = 0;
  g->block = block;
}

static void update(digest *g, const void *data, size_t n) {
  const uint8_t *p = data;
  size_t have = g->total & 63;
  g->total += n;
  if (have) {
    size_t take = 64 - have < n ? 64 - have : n;
    memcpy(g->rest + have, p, take);
    p += take;
    n -= take;
    if (have + take < 64) return;
    g->block(g->state, g->rest);
  }
  for (; n >= 64; p += 64, n -= 64) g->block(g->state, p);
  if (n) memcpy(g->rest, p, n);
}

/* Pads and writes `words` words of the state; big: byte order. */
static void finish(digest *g, uint32_t words, int big, uint8_t *out) {
  static const uint8_t pad[64] = {0x80};
  uint64_t bits = g->total * 8;
  uint8_t length[8];
  for (uint32_t i = 0; i < 8; i++)
    length[i] = (uint8_t)(bits >> 8 * (big ? 7 - i : i));
  update(g, pad, 1 + ((119 - (g->total & 63)) & 63));
  update(g, length, sizeof length);
  for (uint32_t i = 0; i < words * 4; i++)
    out[i] = (uint8_t)(g->state[i / 4] >> 8 * (big ? 3 - i % 4 : i % 4));
}

void pg_md5(const char *s, uint32_t n, char *dst) {
  digest g;
  begin(&g, md5_block);
  update(&g, s, n);
  finish(&g, 4, 0, (uint8_t *)dst);
}

void pg_sha1(const char *s, uint32_t n, char *dst) {
  digest g;
  begin(&g, sha1_block);
  update(&g, s, n);
  finish(&g, 5, 1, (uint8_t *)dst);
}

void pg_hmac_sha1(const char *k, uint32_t kn, const char *s, uint32_t n,
                  char *dst) {
  uint8_t key[64] = {0}, pad[64];
  char inner[20];
  digest g;
  if (kn > sizeof key) pg_sha1(k, kn, (char *)key);
  else if (kn) memcpy(key, k, kn);
  for (int i = 0; i < 64; i++) pad[i] = key[i] ^ 0x36;
  begin(&g, sha1_block);
  update(&g, pad, sizeof pad);
  update(&g, s, n);
  finish(&g, 5, 1, (uint8_t *)inner);
  for (int i = 0; i < 64; i++) pad[i] = key[i] ^ 0x5c;
  begin(&g, sha1_block);
  update(&g, pad, sizeof pad);
  update(&g, inner, sizeof inner);
  finish(&g, 5, 1, (uint8_t *)dst);
}

/* ---- CRC-32 ---- */

/* Four bits at a time: 64 bytes of table stay in one cache line. */
static const uint32_t crc_nibble[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
    0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
    0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

uint32_t pg_crc32(const char *s, uint32_t n) {
  uint32_t c = 0xffffffff;
  for (; n; s++, n--) {
    c ^= (uint8_t)*s;
    c = crc_nibble[c & 15] ^ c >> 4;
    c = crc_nibble[c & 15] ^ c >> 4;
  }
  return c ^ 0xffffffff;
}

void pg_hex(const char *s, uint32_t n, char *dst) {
  static const char digit[] = "0123456789abcdef";
  for (uint32_t i = 0; i < n; i++) {
    dst[2 * (size_t)i] = digit[(uint8_t)s[i] >> 4];
    dst[2 * (size_t)i + 1] = digit[s[i] & 15];
  }
}
