// ibm-cloud-sdk-core against our IBM sources.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import ibm from 'ibm-cloud-sdk-core'
import { ibmSettings } from '../../src/lab/ibm-accounts.ts'
import { watsonx } from '../../src/providers/watsonx.ts'
import { ACCEPT, callsOf, mustAgree, ourCalls } from './compare.mjs'

/** The lab has no such path, so the library gets no token there. */
const OLD_CONSOLE = [
  'path',
  'the library’s first version has a path of another console; at account-iam it is this one',
]

export const ibmCases = [
  ['ibm: API key of IBM Cloud', apiKey],
  ['ibm: trusted profile, by a compute resource’s token', profile],
  ['ibm: identity of a VPC instance', instance],
  ['ibm: API key of the SaaS on AWS', saasOnAws],
  ['ibm: Software Hub, by password', password],
]

async function compare(
  lab,
  authenticator,
  { names, auth = {}, explained = [], isRefused = false, folder = '', more = {} },
) {
  const settings = ibmSettings(lab)
  const asked = await callsOf(lab, () => {
    const answer = authenticator.authenticate({ headers: {} })
    return isRefused ? answer.catch(() => {}) : answer
  })
  const theirs = isRefused ? asked.map(call => ({ ...call, status: 200 })) : asked
  const isSecret = name => /KEY|PASSWORD/.test(name)
  const pick = wanted =>
    Object.fromEntries(names.filter(wanted).map(name => [name, settings[name]]))
  const ours = await ourCalls(lab, watsonx, {
    material: pick(isSecret),
    config: {
      WATSONX_URL: lab.origin,
      WATSONX_PROJECT_ID: settings.WATSONX_PROJECT_ID,
      ...pick(name => !isSecret(name)),
      ...auth,
      ...more,
    },
    tokenDirs: [folder],
  })
  mustAgree(theirs, ours, explained)
}

function apiKey(lab) {
  const { IBM_CLOUD_API_KEY: apikey } = ibmSettings(lab)
  const authenticator = new ibm.IamAuthenticator({ apikey, url: lab.origin })
  return compare(lab, authenticator, {
    names: ['IBM_CLOUD_API_KEY', 'IBM_IAM_URL'],
    auth: { WATSONX_AUTH: 'iam' },
    explained: [ACCEPT],
  })
}

async function profile(lab) {
  const folder = mkdtempSync(path.join(tmpdir(), 'oracle-'))
  const file = path.join(folder, 'cr-token')
  const settings = ibmSettings(lab)
  writeFileSync(file, settings.IBM_CR_TOKEN)
  const authenticator = new ibm.ContainerAuthenticator({
    ...{ crTokenFilename: file, iamProfileId: settings.IBM_PROFILE_ID, url: lab.origin },
  })
  try {
    const names = ['IBM_IAM_URL', 'IBM_PROFILE_ID']
    await compare(lab, authenticator, {
      names,
      folder,
      more: { IBM_CR_TOKEN_FILE: file },
      auth: { WATSONX_AUTH: 'profile' },
      explained: [ACCEPT],
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function instance(lab) {
  const { IBM_PROFILE_ID: iamProfileId } = ibmSettings(lab)
  const authenticator = new ibm.VpcInstanceAuthenticator({ iamProfileId, url: lab.origin })
  const names = ['IBM_VPC_METADATA_URL', 'IBM_PROFILE_ID']
  return compare(lab, authenticator, { names, auth: { WATSONX_AUTH: 'vpc' } })
}

function saasOnAws(lab) {
  const { IBM_CLOUD_API_KEY: apikey } = ibmSettings(lab)
  const authenticator = new ibm.McspAuthenticator({ apikey, url: lab.origin })
  return compare(lab, authenticator, {
    names: ['IBM_CLOUD_API_KEY', 'IBM_IAM_URL'],
    auth: { WATSONX_AUTH: 'mcsp' },
    explained: [OLD_CONSOLE],
    isRefused: true,
  })
}

function password(lab) {
  const settings = ibmSettings(lab)
  const authenticator = new ibm.CloudPakForDataAuthenticator({
    ...{
      username: settings.WATSONX_USERNAME,
      password: settings.WATSONX_PASSWORD,
      url: `${lab.origin}/icp4d-api`,
    },
  })
  return compare(lab, authenticator, {
    names: ['WATSONX_USERNAME', 'WATSONX_PASSWORD'],
    auth: { WATSONX_AUTH: 'cp4d' },
    explained: [ACCEPT],
  })
}
