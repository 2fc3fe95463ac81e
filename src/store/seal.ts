import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SEALED_KEY_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
const ENVELOPE = /^v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)$/

/** Turns secrets into envelopes that may lie in a database, and back. */
export interface Sealer {
  /** Seals a secret for one place; the envelope opens with the same `context` only. */
  seal(secret: Secret, context: string): string
  /**
   * Opens an envelope that was sealed for `context`.
   *
   * @throws AppError `wrong_master_key` when another master key sealed it, `store_unavailable` when
   * it is damaged or was sealed for another place.
   */
  unseal(envelope: string, context: string): Secret
}

/**
 * Envelope encryption with AES-256-GCM (NIST SP 800-38D): each secret has a random data key of its
 * own, and the 32-byte master key wraps that. An envelope is the text
 * `v1.<master key id>.<base64url of wrapped key and sealed secret>`. The context is associated data
 * of both layers, so that an envelope moved to another row does not open.
 *
 * @throws AppError `invalid_config` when the master key does not have 32 bytes.
 */
export function createSealer(masterKey: Uint8Array, random: Random): Sealer {
  if (masterKey.length !== KEY_BYTES) {
    throw new AppError(
      'invalid_config',
      `The master key has ${masterKey.length} bytes, ${KEY_BYTES} are needed`,
    )
  }
  const key = createSecretKey(masterKey)
  const keyId = masterKeyId(key)
  return {
    seal(secret, context) {
      const dataKey = random.bytes(KEY_BYTES)
      const wrapped = encrypt(key, dataKey, random.bytes(NONCE_BYTES), keyData(keyId, context))
      const sealed = encrypt(
        createSecretKey(dataKey),
        Buffer.from(secret.reveal(), 'utf8'),
        random.bytes(NONCE_BYTES),
        secretData(context),
      )
      dataKey.fill(0)
      return `v1.${keyId}.${Buffer.concat([wrapped, sealed]).toString('base64url')}`
    },
    unseal(envelope, context) {
      const [, sealedBy, text] = ENVELOPE.exec(envelope) ?? []
      if (sealedBy === undefined || text === undefined) throw damaged(context)
      if (sealedBy !== keyId) throw sealedByOther(context, { sealedBy, keyId })
      const bytes = Buffer.from(text, 'base64url')
      const isWhole = bytes.length >= SEALED_KEY_BYTES + NONCE_BYTES + TAG_BYTES
      // Node decodes base64url leniently; only what `seal` would write is an envelope.
      if (!isWhole || bytes.toString('base64url') !== text) throw damaged(context)
      try {
        const wrapped = bytes.subarray(0, SEALED_KEY_BYTES)
        const dataKey = createSecretKey(decrypt(key, wrapped, keyData(keyId, context)))
        const sealed = bytes.subarray(SEALED_KEY_BYTES)
        return new Secret(decrypt(dataKey, sealed, secretData(context)).toString('utf8'))
      } catch (cause) {
        throw damaged(context, cause)
      }
    },
  }
}

/** Names a master key without telling anything about it: a hash of a key derived from it. */
function masterKeyId(key: KeyObject): string {
  const derived = hkdfSync('sha256', key, '', 'openshell master key id v1', KEY_BYTES)
  return createHash('sha256').update(Buffer.from(derived)).digest('hex').slice(0, 8)
}

function keyData(keyId: string, context: string): Buffer {
  return Buffer.from(`openshell data key v1\0${keyId}\0${context}`, 'utf8')
}

function secretData(context: string): Buffer {
  return Buffer.from(`openshell secret v1\0${context}`, 'utf8')
}

/** Nonce, ciphertext and tag, in that order. */
function encrypt(key: KeyObject, plain: Uint8Array, nonce: Uint8Array, data: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(data)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: KeyObject, sealed: Uint8Array, data: Uint8Array): Buffer {
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(data)
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
  return Buffer.concat([plain, decipher.final()])
}

function damaged(context: string, cause?: unknown): AppError {
  const message = `Cannot unseal "${context}": it is damaged or was sealed for another place`
  return new AppError('store_unavailable', message, { cause })
}

function sealedByOther(
  context: string,
  ids: { readonly sealedBy: string; readonly keyId: string },
): AppError {
  return new AppError(
    'wrong_master_key',
    `Cannot unseal "${context}": master key ${ids.sealedBy} sealed it, this is ${ids.keyId}`,
    { hint: 'Start the gateway with the master key that this database was made with' },
  )
}
