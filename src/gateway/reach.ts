import { once } from 'node:events'
import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'

const REACH_MS = 5_000

/** How far the way to a host goes. */
export type Reach =
  | { readonly kind: 'reached' }
  | {
      readonly kind: 'failed'
      /** Where it ended: finding the address, connecting, or agreeing on TLS. */
      readonly stage: 'dns' | 'connect' | 'tls'
      /** The machine's word for it, for example `ENOTFOUND` or `CERT_HAS_EXPIRED`. */
      readonly reason: string
    }

/** Goes the way to a URL's host, DNS, TCP and TLS, and sends nothing. Gives up after 5 s. */
export async function reachHost(url: URL): Promise<Reach> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const isSecure = url.protocol === 'https:'
  const port = Number(url.port) || (isSecure ? 443 : 80)
  const isAddress = isIP(host) !== 0
  let stage: 'dns' | 'connect' | 'tls' = isAddress ? 'connect' : 'dns'
  const socket = isSecure
    ? connectTls({ host, port, ...(isAddress ? {} : { servername: host }) })
    : connect({ host, port })
  socket.on('lookup', (error: Error | null) => {
    if (error === null) stage = 'connect'
  })
  socket.on('connect', () => {
    stage = 'tls'
  })
  try {
    const signal = AbortSignal.timeout(REACH_MS)
    await once(socket, isSecure ? 'secureConnect' : 'connect', { signal })
    return { kind: 'reached' }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const reason =
      error.name === 'AbortError' || !('code' in error) ? 'timeout' : String(error.code)
    return { kind: 'failed', stage, reason }
  } finally {
    // What the other side still says on the closed connection is nobody's concern.
    socket.on('error', () => socket.destroy())
    socket.destroy()
  }
}
