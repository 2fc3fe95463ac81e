import { AppError } from '../../src/core/errors.ts'
import type { GatewayLink } from '../../src/sandbox/gateway-link.ts'
import type { Chance } from './chance.ts'

/**
 * One link over those to several gateways, as a router has it that is told of all: it begins at any of
 * them, goes to the next when one is away, and asks that one at once. It polls where it watches.
 */
export function roamingLink(links: readonly GatewayLink[], chance: Chance): GatewayLink {
  let current = chance.pick(links)
  let watched: GatewayLink | null = null
  const leave = (left: GatewayLink): void => {
    if (current === left) current = links[(links.indexOf(left) + 1) % links.length] ?? left
  }
  const atAny = async <T>(call: (link: GatewayLink) => Promise<T>): Promise<T> => {
    for (let tries = 1; ; tries += 1) {
      const link = current
      try {
        return await call(link)
      } catch (error) {
        if (!isAway(error)) throw error
        leave(link)
        if (tries >= links.length) throw error
      }
    }
  }
  return {
    async watch(session, signal) {
      const link = current
      watched = link
      const error = await link.watch(session, signal)
      watched = null
      if (isAway(error) && !signal.aborted) leave(link)
      return error
    },
    poll(signal) {
      current = watched ?? current
      return atAny(link => link.poll(signal))
    },
    reportRejected: (...args) => atAny(link => link.reportRejected(...args)),
  }
}

function isAway(error: unknown): boolean {
  return error instanceof AppError && error.code === 'gateway_unreachable'
}
