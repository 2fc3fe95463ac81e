import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Answer, jsonAnswer, type Vendor } from './call.ts'
import type { FaultEffect } from './faults.ts'
import type { Header } from './header.ts'

const SPACE = 0x20
const ENDLESS_CHUNK = ' '.repeat(1_024)

/** What a fault answers in the vendor's place; null when it leaves the answer to the vendor. */
export async function faultAnswer(effect: FaultEffect, vendor: Vendor): Promise<Answer | null> {
  if (effect.redirect !== null) {
    const headers: readonly Header[] = [['location', effect.redirect]]
    return { status: effect.status ?? 307, headers, body: new Uint8Array() }
  }
  if (effect.bombBytes > 0) return gzipBomb(effect.status ?? 200, effect.bombBytes)
  if (effect.isEndless) {
    const headers: readonly Header[] = [['content-type', 'application/json']]
    return { status: effect.status ?? 200, headers, body: endlessSpaces() }
  }
  if (effect.body !== null) {
    const isMarkup = effect.body.startsWith('<')
    const headers: readonly Header[] = [
      ['content-type', isMarkup ? 'text/html; charset=utf-8' : 'application/json'],
    ]
    return { status: effect.status ?? 200, headers, body: new TextEncoder().encode(effect.body) }
  }
  if (effect.error !== null) {
    const description = effect.description ?? 'The lab was told to say so.'
    const body = { error: effect.error, error_description: description }
    return jsonAnswer(effect.status ?? 200, body)
  }
  if (effect.status === null) return null
  return vendor.refuse(effect.status, `The lab was told to answer ${effect.status}.`)
}

/** White space is what a JSON parser must read to its end; it also compresses best. */
async function gzipBomb(status: number, bytes: number): Promise<Answer> {
  const body = await promisify(gzip)(Buffer.alloc(bytes, SPACE))
  const headers: readonly Header[] = [
    ['content-type', 'application/json'],
    ['content-encoding', 'gzip'],
  ]
  return { status, headers, body }
}

async function* endlessSpaces(): AsyncGenerator<string> {
  while (true) yield ENDLESS_CHUNK
}
