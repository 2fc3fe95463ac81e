// What every bench of the data path stands on: a folder of its own, the native programs, a copy of
// the release, certificates.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createAuthority } from '../../src/pki/authority.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { compileC, type NativeName } from './native.ts'

const root = path.dirname(path.dirname(import.meta.dirname))

/** Certificates of one run, as files. */
interface Certificates {
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
  /** Certificate and key in one file, as HAProxy wants it. */
  readonly bothFile: string
}

/** A place to measure in. */
export interface Stage {
  readonly folder: string
  /** The path of a native program; compiled when it is first asked for. */
  native(name: NativeName): string
  /** The released program; a copy, so that a build meanwhile changes nothing. */
  readonly executable: string
  readonly certificates: Certificates
  /** Writes a file of the stage's own and answers its path. */
  write(name: string, content: string | Uint8Array): string
  remove(): void
}

/** Prepares a stage; `release` is the folder with `openshell.mjs`, `dist/` by default. */
export function createStage(release = path.join(root, 'dist')): Stage {
  if (!existsSync(path.join(release, 'openshell.mjs'))) {
    throw new Error(`There is no openshell.mjs in "${release}": npm run build`)
  }
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-bench-'))
  const write = (name: string, content: string | Uint8Array): string => {
    const file = path.join(folder, name)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, content, { mode: 0o600 })
    return file
  }
  const remove = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  const compiled = new Map<NativeName, string>()
  cpSync(release, path.join(folder, 'release'), { recursive: true })
  return {
    folder,
    write,
    native(name) {
      const known = compiled.get(name)
      if (known !== undefined) return known
      const program = compileC(folder, name)
      compiled.set(name, program)
      return program
    },
    executable: path.join(folder, 'release', 'openshell.mjs'),
    certificates: writeCertificates(write),
    remove() {
      process.off('exit', remove)
      remove()
    },
  }
}

/** Both sides of every proxy show the same certificate, of the same key type (P-256). */
function writeCertificates(write: Stage['write']): Certificates {
  const authority = createAuthority({ clock: realClock, random: realRandom })
  const { certPem, keyPem } = authority.issueLeaf('127.0.0.1')
  return {
    caFile: write('ca.pem', authority.certPem),
    certFile: write('cert.pem', certPem),
    keyFile: write('key.pem', keyPem),
    bothFile: write('both.pem', `${certPem}\n${keyPem}`),
  }
}
