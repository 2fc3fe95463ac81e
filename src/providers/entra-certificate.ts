import { createPrivateKey, X509Certificate } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { normalizeRsaKey } from '../oauth/private-key.ts'

const LABEL = 'AZURE_CLIENT_CERTIFICATE'

const CERTIFICATE_BLOCK = /-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g

/** A client certificate that was checked. */
export interface ClientCertificate {
  /** PKCS#8 PEM. */
  readonly privateKey: Secret
  /** SHA-256 of the certificate's DER, base64url, as the header `x5t#S256` has it (RFC 7515 §4.1.8). */
  readonly thumbprint: string
}

/**
 * Reads a PEM text with an RSA private key and its certificate, in any order, a chain allowed. The
 * certificate is the one that belongs to the key.
 *
 * @throws AppError `invalid_credential` when Entra ID could never accept it, or not any more.
 */
export function parseClientCertificate(pem: Secret, nowMs: number): ClientCertificate {
  const privateKey = normalizeRsaKey(pem, LABEL)
  const key = createPrivateKey(privateKey.reveal())
  const certificates = certificatesOf(pem)
  if (certificates.length === 0) throw refused('holds no certificate beside the private key')
  const certificate = certificates.find(one => one.checkPrivateKey(key))
  if (certificate === undefined) throw refused('holds no certificate that belongs to its key')
  if (certificate.validToDate.getTime() <= nowMs) {
    throw refused(`expired on ${certificate.validToDate.toISOString().slice(0, 10)}`)
  }
  const digest = certificate.fingerprint256.replaceAll(':', '')
  return { privateKey, thumbprint: Buffer.from(digest, 'hex').toString('base64url') }
}

/** A shell or a JSON file may have left `\n` where lines end. */
function certificatesOf(pem: Secret): readonly X509Certificate[] {
  const text = pem.reveal().replaceAll(/\\[rn]/g, '\n')
  return [...text.matchAll(CERTIFICATE_BLOCK)].map(([, base64 = '']) => {
    try {
      return new X509Certificate(Buffer.from(base64, 'base64'))
    } catch (cause) {
      if (!(cause instanceof Error)) throw cause
      throw refused('holds a certificate that cannot be read')
    }
  })
}

function refused(reason: string): AppError {
  return new AppError('invalid_credential', `${LABEL} ${reason}`, {
    hint: `Put the private key and its certificate into one PEM file: --credential-file ${LABEL}=PATH`,
  })
}
