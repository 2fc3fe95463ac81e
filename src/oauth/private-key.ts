import { createPrivateKey, type KeyObject } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

const PEM_CHARS_MAX = 65_536
const RSA_BITS_MIN = 2_048

/** The first private key of a text (RFC 7468), whatever stands around it. */
const PRIVATE_KEY_BLOCK = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----([^-]*)-----END \1-----/

/**
 * Brings a PEM private key to PKCS#8, whatever a shell or a JSON file did to it: literal `\n`, CRLF,
 * lost or indented lines, surrounding quotes and a byte order mark are mended. Only an RSA key of
 * at least 2048 bits passes, because Node loads weaker, EC and RSA-PSS keys without complaint and
 * the vendor then refuses every signature.
 *
 * @throws AppError `invalid_credential`, without a byte of the key, when it is not usable.
 */
export function normalizeRsaKey(pem: Secret, label: string): Secret {
  const key = loadPrivateKey(pem, label)
  if (key.asymmetricKeyType !== 'rsa') {
    throw refused(`${label} is a key of type "${key.asymmetricKeyType}", an RSA key is needed`)
  }
  return rsaPem(key, label)
}

/**
 * As {@link normalizeRsaKey}, for servers that also take signatures by an EC key, which must be on
 * the curve P-256 (ES256, RFC 7518 §3.4).
 *
 * @throws AppError `invalid_credential`, without a byte of the key, when it is not usable.
 */
export function normalizeSigningKey(
  pem: Secret,
  label: string,
): { readonly type: 'rsa' | 'ec'; readonly privateKey: Secret } {
  const key = loadPrivateKey(pem, label)
  if (key.asymmetricKeyType === 'rsa') return { type: 'rsa', privateKey: rsaPem(key, label) }
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') {
    return { type: 'ec', privateKey: pkcs8Of(key) }
  }
  const curve = key.asymmetricKeyDetails?.namedCurve ?? ''
  const type = curve === '' ? key.asymmetricKeyType : `${key.asymmetricKeyType}, ${curve}`
  throw refused(
    `${label} is a key of type "${type}", an RSA key or an EC key on the curve P-256 is needed`,
  )
}

function rsaPem(key: KeyObject, label: string): Secret {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < RSA_BITS_MIN) {
    throw refused(`${label} is an RSA key of ${bits} bits, at least ${RSA_BITS_MIN} are needed`)
  }
  return pkcs8Of(key)
}

function pkcs8Of(key: KeyObject): Secret {
  return new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString())
}

function loadPrivateKey(pem: Secret, label: string): KeyObject {
  const text = pem.reveal()
  if (text.length > PEM_CHARS_MAX) throw refused(`${label} is too long to be a private key`)
  const block = PRIVATE_KEY_BLOCK.exec(text.replaceAll(/\\[rn]/g, '\n'))
  if (text.includes('ENCRYPTED')) {
    throw refused(`${label} is encrypted, a private key without a passphrase is needed`)
  }
  if (block === null && text.includes('PUBLIC KEY')) {
    throw refused(`${label} is a public key, the private key is needed`)
  }
  try {
    return createPrivateKey(block === null ? '' : rewrap(block))
  } catch (cause) {
    // OpenSSL's reason says nothing to a person, and it may quote the input.
    if (!(cause instanceof Error)) throw cause
    throw refused(`${label} is not a readable PEM private key`)
  }
}

/** The block with its base64 on one line, which OpenSSL reads (RFC 7468 §2: whitespace is ignored). */
function rewrap([, kind = '', base64 = '']: RegExpExecArray): string {
  return `-----BEGIN ${kind}-----\n${base64.replaceAll(/\s/g, '')}\n-----END ${kind}-----\n`
}

function refused(message: string): AppError {
  return new AppError('invalid_credential', message, {
    hint: 'Download the key anew from the vendor and pass the file as it is',
  })
}
