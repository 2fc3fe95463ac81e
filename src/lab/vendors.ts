import { createAnthropic, createGoogleClaude, createOauthAnthropic } from './anthropic.ts'
import { createAwsContainer, createAwsMetadata, createAwsSts } from './aws.ts'
import { createAzureIdentity } from './azure-identity.ts'
import { createAzureOpenai } from './azure-openai.ts'
import { createBedrock } from './bedrock.ts'
import type { Vendor } from './call.ts'
import { createEntra } from './entra.ts'
import { createGoogleIam } from './google-iam.ts'
import { createGoogleMetadata, createGoogleSubjects } from './google-machine.ts'
import { createGoogleSts } from './google-sts.ts'
import { createGoogleToken } from './google-token.ts'
import { createIbmIam, createIbmMetadata } from './ibm-iam.ts'
import { createIbmPlatform } from './ibm-platform.ts'
import { createOauthToken } from './oauth-token.ts'
import { createOauthOpenai, createOpenai } from './openai.ts'
import { createVertex } from './vertex.ts'
import { createWatsonx } from './watsonx.ts'
import { createAnthropicToken, createOpenaiToken } from './workload-identity.ts'
import type { World } from './world.ts'

/** Every pretend vendor; a new one is its own file and a line here. The first that owns a path answers. */
export const VENDORS: readonly ((world: World) => Vendor)[] = [
  createGoogleToken,
  createGoogleSts,
  createGoogleIam,
  createGoogleMetadata,
  createGoogleSubjects,
  createGoogleClaude,
  createVertex,
  createIbmIam,
  createIbmMetadata,
  createIbmPlatform,
  createWatsonx,
  createEntra,
  createAzureIdentity,
  createAzureOpenai,
  createAwsSts,
  createAwsMetadata,
  createAwsContainer,
  createBedrock,
  createOauthToken,
  createOauthOpenai,
  createAnthropicToken,
  createOpenaiToken,
  createOauthAnthropic,
  createOpenai,
  createAnthropic,
]
