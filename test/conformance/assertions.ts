import { decodeJwt } from 'jose'
import type { FetchRequest } from '../../src/system/fetch.ts'

/** Every JWT that a request carries. */
export function assertionsOf(request: FetchRequest): readonly string[] {
  const text = `${decodeURIComponent(
    Buffer.from(request.body ?? [])
      .toString()
      .replaceAll('+', ' '),
  )}`
  return text.match(/ey[\w-]+\.[\w-]+\.[\w-]+/g) ?? []
}

/** When a request was signed, or its first assertion issued; 0 without either. */
export function issuedAtSeconds(request: FetchRequest): number {
  const [, date, time] = /^(\d{8})T(\d{6})Z$/.exec(request.headers.get('x-amz-date') ?? '') ?? []
  if (date !== undefined && time !== undefined) {
    const day = date.replace(/(....)(..)(..)/, '$1-$2-$3')
    return Date.parse(`${day}T${time.replace(/(..)(..)(..)/, '$1:$2:$3')}Z`) / 1_000
  }
  const [assertion] = assertionsOf(request)
  const { iat, nbf } = assertion === undefined ? {} : decodeJwt(assertion)
  return iat ?? nbf ?? 0
}
