import { createPrivateKey, type KeyObject } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

const PEM_CHARS_MAX = 65_536
const RSA_BITS_MIN = 2_048

/**
 * Brings a PEM private key to PKCS#8, whatever a shell or a JSON file did to it: literal `\n`, CRLF,
 * surrounding quotes and a byte order mark are mended. Only an RSA key of at least 2048 bits passes,
 * because Node loads weaker, EC and RSA-PSS keys without complaint and the vendor then refuses every
 * signature.
 *
 * @throws AppError `invalid_credential`, without a byte of the key, when it is not usable.
 */
export function normalizeRsaKey(pem: Secret, label: string): Secret {
  const key = loadPrivateKey(pem, label)
  if (key.asymmetricKeyType !== 'rsa') {
    throw refused(`${label} is a key of type "${key.asymmetricKeyType}", an RSA key is needed`)
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < RSA_BITS_MIN) {
    throw refused(`${label} is an RSA key of ${bits} bits, at least ${RSA_BITS_MIN} are needed`)
  }
  return new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString())
}

function loadPrivateKey(pem: Secret, label: string): KeyObject {
  const text = mendPem(pem.reveal())
  if (text.length > PEM_CHARS_MAX) throw refused(`${label} is too long to be a private key`)
  if (/BEGIN [A-Z ]*PUBLIC KEY/.test(text)) {
    throw refused(`${label} is a public key, the private key is needed`)
  }
  if (text.includes('ENCRYPTED')) {
    throw refused(`${label} is encrypted, a private key without a passphrase is needed`)
  }
  try {
    return createPrivateKey(text)
  } catch (cause) {
    // OpenSSL's reason says nothing to a person, and it may quote the input.
    if (!(cause instanceof Error)) throw cause
    throw refused(`${label} is not a readable PEM private key`)
  }
}

function mendPem(text: string): string {
  const bare = text
    .replace(/^\uFEFF/, '')
    .trim()
    .replace(/^["']+|["']+$/g, '')
  const broken = bare.includes('\n') ? bare : bare.replaceAll('\\r', '').replaceAll('\\n', '\n')
  return broken.replaceAll('\r\n', '\n')
}

function refused(message: string): AppError {
  return new AppError('invalid_credential', message, {
    hint: 'Download the key anew from the vendor and pass the file as it is',
  })
}
