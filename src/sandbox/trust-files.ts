import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { getCACertificates } from 'node:tls'

/** Where the usual systems keep their roots as one file. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const

/** Files that make agents trust the router; public certificates only. */
export interface TrustFiles {
  readonly caFile: string
  readonly caBundleFile: string
  remove(): void
}

/**
 * Writes the authority's certificate alone, and together with the roots that the agent trusts
 * already, into a new folder that only this user can enter (`mkdtemp` makes it 0700).
 */
export function writeTrustFiles(
  caPem: string,
  options: {
    /** The bundle that the agent used until now (`SSL_CERT_FILE`); '' means the system's. */
    readonly bundleFile: string
  },
): TrustFiles {
  const folder = mkdtempSync(path.join(tmpdir(), 'openshell-'))
  const caFile = path.join(folder, 'openshell-ca.pem')
  const caBundleFile = path.join(folder, 'ca-bundle.pem')
  writeFileSync(caFile, caPem)
  writeFileSync(caBundleFile, `${rootsOf(options.bundleFile).trimEnd()}\n${caPem}`)
  return { caFile, caBundleFile, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

function rootsOf(bundleFile: string): string {
  for (const file of bundleFile === '' ? SYSTEM_BUNDLES : [bundleFile, ...SYSTEM_BUNDLES]) {
    const roots = readIfThere(file)
    if (roots !== null) return roots
  }
  return getCACertificates('bundled').join('\n')
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR') return null
    throw error
  }
}
