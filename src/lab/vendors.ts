import { createAnthropic } from './anthropic.ts'
import type { Vendor } from './call.ts'
import { createGoogleToken } from './google-token.ts'
import { createOpenai } from './openai.ts'
import { createVertex } from './vertex.ts'
import type { World } from './world.ts'

/** Every pretend vendor; a new one is its own file and a line here. The first that owns a path answers. */
export const VENDORS: readonly ((world: World) => Vendor)[] = [
  createGoogleToken,
  createVertex,
  createOpenai,
  createAnthropic,
]
