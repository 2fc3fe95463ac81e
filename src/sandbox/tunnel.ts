import { connect, type Socket } from 'node:net'
import type { Log } from '../system/log.ts'
import type { Authority } from './destination.ts'

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Joins an agent's connection with an allowed host, byte for byte. Each side may end its half while
 * the other goes on (a client that shuts down its sending side still gets the answer); trouble on one
 * side breaks the other.
 */
export function openTunnel(
  deps: { readonly log: Log; readonly refuse: (reason: string) => void },
  agent: Socket,
  target: Authority,
): void {
  const host = target.hostname.replace(/^\[|\]$/g, '')
  const remote = connect({ host, port: target.port, allowHalfOpen: true, noDelay: true })
  let isOpen = false
  const give = (reason: string) => {
    deps.log.info('tunnel.failed', { host, port: target.port, reason })
    remote.destroy()
    deps.refuse(reason)
  }
  const onAgentClosed = () => remote.destroy()
  agent.once('close', onAgentClosed)
  agent.on('error', onAgentClosed)
  remote.setTimeout(CONNECT_TIMEOUT_MS, () => {
    if (!isOpen) give(`no connection within ${CONNECT_TIMEOUT_MS / 1_000} s`)
  })
  remote.on('error', error => {
    if (!isOpen) give(error.message)
    else agent.resetAndDestroy()
  })
  remote.once('connect', () => {
    isOpen = true
    remote.setTimeout(0)
    agent.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    agent.setNoDelay(true)
    agent.pipe(remote)
    remote.pipe(agent)
  })
}
