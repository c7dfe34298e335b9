package config

import (
	"reflect"
	"testing"
	"time"

	"weir/policy"
)

func TestParseQuota(t *testing.T) {
	c := mustParse(t, `
[postfix_policy]
listen = ["unix:/run/weir//policy.sock", "tcp:127.0.0.1:10031", "tcp:[::1]:10031"]
users = ["postfix"]
over_quota = "slow"
guarded = "reject"
pause = "5s"
unknown_recipients = true

[quota]
recipients = ["300/1h", "1000/1d burst 200"]

[quota.user."Alice@example.com"]
recipients = []

[quota.user."robot@example.com"]
exempt = true

[quota.domain."Example.com"]
messages = ["50/1h"]
together_messages = ["1000/1h"]

[quota.group.sales]
members = ["bob", "carol"]
recipients = ["5000/1d"]
together_recipients = ["20000/1d"]

[quota.source]
messages = ["600/1h"]

[quota.sender]
recipients = ["900/1h"]
`)
	wantServer := PostfixPolicy{
		Listen: []string{"unix:/run/weir/policy.sock", "tcp:127.0.0.1:10031", "tcp:[::1]:10031"}, Users: []string{"postfix"},
		OverQuota: "slow", Guarded: "reject", Pause: 5 * time.Second, UnknownRecipients: true,
	}
	if !reflect.DeepEqual(c.PostfixPolicy, wantServer) {
		t.Errorf("server %+v", c.PostfixPolicy)
	}
	const day = 24 * time.Hour
	span := func(count int, within time.Duration) []policy.QuotaSpan {
		return []policy.QuotaSpan{{Count: count, Within: within}}
	}
	want := policy.QuotaRules{
		Each: policy.Quota{Recipients: []policy.QuotaSpan{{Count: 300, Within: time.Hour}, {Count: 1000, Within: day, Burst: 200}}},
		Users: map[string]policy.QuotaOverride{
			"alice@example.com": {Each: policy.Quota{Recipients: []policy.QuotaSpan{}}},
			"robot@example.com": {Exempt: true},
		},
		Domains: map[string]policy.QuotaOverride{"example.com": {Each: policy.Quota{Messages: span(50, time.Hour)}, Together: policy.Quota{Messages: span(1000, time.Hour)}}},
		Groups: []policy.QuotaGroup{{Name: "sales", Members: []string{"bob", "carol"}, QuotaOverride: policy.QuotaOverride{
			Each: policy.Quota{Recipients: span(5000, day)}, Together: policy.Quota{Recipients: span(20000, day)},
		}}},
		Source: policy.Quota{Messages: span(600, time.Hour)},
		Sender: policy.Quota{Recipients: span(900, time.Hour)},
	}
	if !reflect.DeepEqual(c.Quota, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Quota, want)
	}
}
