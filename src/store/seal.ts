import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'
import { KEY_BYTES, type KeyRing } from './key-ring.ts'

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
   * @throws AppError `wrong_master_key` when a master key sealed it that is not in the ring,
   * `store_unavailable` when it is damaged or was sealed for another place.
   */
  unseal(envelope: string, context: string): Secret
  /**
   * The same secret under the key that seals now: only the data key is wrapped anew. Throws as
   * `unseal` does.
   */
  rewrap(envelope: string, context: string): string
}

/**
 * Envelope encryption with AES-256-GCM (NIST SP 800-38D): each secret has a random data key of its
 * own, and a 32-byte master key wraps that. An envelope is the text
 * `v1.<master key id>.<base64url of wrapped key and sealed secret>`. The context is associated data
 * of both layers, so that an envelope moved to another row does not open.
 */
export function createSealer(ring: KeyRing, random: Random): Sealer {
  const wrap = (dataKey: Uint8Array, sealed: Uint8Array, context: string): string => {
    const { id, key } = ring.sealing()
    const wrapped = encrypt(key, dataKey, random.bytes(NONCE_BYTES), keyData(id, context))
    return `v1.${id}.${Buffer.concat([wrapped, sealed]).toString('base64url')}`
  }
  return {
    seal(secret, context) {
      const dataKey = random.bytes(KEY_BYTES)
      const sealed = encrypt(
        createSecretKey(dataKey),
        Buffer.from(secret.reveal(), 'utf8'),
        random.bytes(NONCE_BYTES),
        secretData(context),
      )
      const envelope = wrap(dataKey, sealed, context)
      dataKey.fill(0)
      return envelope
    },
    unseal(envelope, context) {
      const { dataKey, sealed } = open(ring, envelope, context)
      return new Secret(openSealed(dataKey, sealed, context).toString('utf8'))
    },
    rewrap(envelope, context) {
      const { dataKey, sealed } = open(ring, envelope, context)
      // What cannot be opened afterwards must not look like something that can.
      openSealed(dataKey, sealed, context).fill(0)
      const fresh = wrap(dataKey, sealed, context)
      dataKey.fill(0)
      return fresh
    },
  }
}

/** The id of the master key that an envelope names; null when it is no envelope. */
export function sealedBy(envelope: string): string | null {
  return ENVELOPE.exec(envelope)?.[1] ?? null
}

/** Unwraps the data key of an envelope. */
function open(
  ring: KeyRing,
  envelope: string,
  context: string,
): { readonly dataKey: Buffer; readonly sealed: Buffer } {
  const [, keyId, text] = ENVELOPE.exec(envelope) ?? []
  if (keyId === undefined || text === undefined) throw damaged(context)
  const masterKey = ring.find(keyId)
  if (masterKey === null) {
    // Nothing whole is left under a key that was emptied.
    throw ring.isEmptied(keyId) ? damaged(context) : sealedByOther(context, { keyId, ring })
  }
  const bytes = Buffer.from(text, 'base64url')
  const isWhole = bytes.length >= SEALED_KEY_BYTES + NONCE_BYTES + TAG_BYTES
  // Node decodes base64url leniently; only what `seal` would write is an envelope.
  if (!isWhole || bytes.toString('base64url') !== text) throw damaged(context)
  try {
    const wrapped = bytes.subarray(0, SEALED_KEY_BYTES)
    const dataKey = decrypt(masterKey.key, wrapped, keyData(keyId, context))
    return { dataKey, sealed: bytes.subarray(SEALED_KEY_BYTES) }
  } catch (cause) {
    throw damaged(context, cause)
  }
}

function openSealed(dataKey: Uint8Array, sealed: Uint8Array, context: string): Buffer {
  try {
    return decrypt(createSecretKey(dataKey), sealed, secretData(context))
  } catch (cause) {
    throw damaged(context, cause)
  }
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
  { keyId, ring }: { readonly keyId: string; readonly ring: KeyRing },
): AppError {
  const held = ring.ids().join(', ')
  return new AppError(
    'wrong_master_key',
    `Cannot unseal "${context}": master key ${keyId} sealed it, held is ${held}`,
    { hint: 'Give the gateway the master key that this was sealed with' },
  )
}
