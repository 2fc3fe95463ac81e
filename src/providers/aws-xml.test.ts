import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseXmlLeaves } from './aws-xml.ts'

function leaves(xml: string): Readonly<Record<string, string>> | null {
  const found = parseXmlLeaves(Buffer.from(xml))
  return found === null ? null : Object.fromEntries(found)
}

test('the text of each innermost element is found by its path', () => {
  const ROWS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['<a>x</a>', { a: 'x' }],
    ['\uFEFF<?xml version="1.0" encoding="UTF-8"?>\n<a>x</a>\n', { a: 'x' }],
    ['<a xmlns="https://n/"><b>1</b>\n <c>2</c><d/></a>', { 'a/b': '1', 'a/c': '2', 'a/d': '' }],
    ['<a x=\'1\' y = "2" ><b></b></a>', { 'a/b': '' }],
    ['<a>&lt;&amp;&gt;&quot;&apos;</a>', { a: '<&>"\'' }],
    ['<a>&amp;lt;</a>', { a: '&lt;' }],
  ]
  for (const [xml, expected] of ROWS) assert.deepEqual(leaves(xml), expected, xml)
})

test('everything beyond that is refused, and nothing is ever expanded', () => {
  const ROWS = [
    ...['', 'text', '<a>', '</a>', '<a></b>', '<a>x</a>y', 'y<a>x</a>', '<a>x</a><b>y</b>'],
    ...['<a>x<b>y</b></a>', '<a><b>x</b>y</a>', '<a><b>1</b><b>2</b></a>', '<a><![CDATA[x]]></a>'],
    ...[
      '<a><!-- x --></a>',
      '<a>&other;</a>',
      '<a>&#65;</a>',
      '<a>& x</a>',
      '<a b=c>x</a>',
      '< a>x</a>',
    ],
    '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    '<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://127.0.0.1/x"><a>x</a>',
    '<?php x ?><a>x</a>',
    '{"AccessKeyId":"x"}',
  ]
  for (const xml of ROWS) assert.equal(leaves(xml), null, xml)
})
