// The load generator and the mock upstream: small C programs, compiled when a bench needs them.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { isPresent } from './processes.ts'

/** The exit code of a bench that lacks something. */
const NOT_HERE = 3

const sources = path.join(path.dirname(import.meta.dirname), 'native')

/** A bench cannot run on this machine: says what it lacks, and stops. */
export function stopWithout(what: string): never {
  process.stderr.write(`This measurement cannot be made here: ${what}\n`)
  process.exit(NOT_HERE)
}

/** Where OpenSSL's headers are missing, everything is built without TLS. */
export const hasOpenssl =
  existsSync('/usr/include/openssl/ssl.h') || existsSync('/usr/local/include/openssl/ssl.h')

/** The C programs, each with the files that it is made of besides `link.c`. */
const PROGRAMS = {
  load: ['load.c', 'message.c', 'samples.c'],
  load2: ['load2.c', 'http2.c', 'samples.c'],
  upstream: ['upstream.c', 'message.c'],
  watchers: ['watchers.c', 'http2.c', 'samples.c'],
} as const

/** The name of a C program. */
export type NativeName = keyof typeof PROGRAMS

/** Compiles a C program into a folder and answers its path. */
export function compileC(folder: string, name: NativeName): string {
  if (!isPresent('cc')) {
    stopWithout('the load generator needs a C compiler, "cc" (gcc or clang)')
  }
  const program = path.join(folder, name)
  const tls = hasOpenssl ? ['-lssl', '-lcrypto'] : ['-DWITHOUT_TLS']
  const ended = spawnSync('cc', [
    ...['-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror', '-o', program],
    ...[...PROGRAMS[name], 'link.c'].map(file => path.join(sources, file)),
    ...tls,
  ])
  demandSuccess(ended, name)
  return program
}

/** Compiles Go's reverse proxy; null where there is no Go. */
export function compileGo(folder: string): string | null {
  if (!isPresent('go')) return null
  const program = path.join(folder, 'reverse-proxy')
  const ended = spawnSync('go', ['build', '-o', program, 'reverse-proxy.go'], {
    cwd: sources,
    env: { ...process.env, GOFLAGS: '-mod=mod', GO111MODULE: 'off' },
  })
  demandSuccess(ended, 'reverse-proxy.go')
  return program
}

function demandSuccess(ended: SpawnSyncReturns<Buffer>, name: string): void {
  if (ended.status !== 0) throw new Error(`Cannot compile ${name}:\n${ended.stderr}`)
}
