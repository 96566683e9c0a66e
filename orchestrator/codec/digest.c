/* SHA-256 by libcrypto. The algorithm is fetched once: fetching costs more than hashing an event.
 */
#include <pthread.h>

#include <openssl/evp.h>

#include "common/base/assert.h"
#include "orchestrator/codec/codec.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void saga_digest(struct saga_bytes bytes, uint8_t digest[SAGA_DIGEST_SIZE])
{
    (void)pthread_once(&once, fetch);
    SAGA_ASSERT(sha256 != NULL);
    unsigned size = 0;
    int done = EVP_Digest(bytes.data, bytes.size, digest, &size, sha256, NULL);
    SAGA_ASSERT(done == 1 && size == SAGA_DIGEST_SIZE);
}
