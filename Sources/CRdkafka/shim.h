#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/// Whether this client may write to a topic: 1 yes, 0 no, -1 not told. librdkafka asks from 2.3.0 on (Debian 13; Debian
/// 12 has 2.0), and a cluster before Kafka 2.3 does not say. Nothing is created by it. It waits `milliseconds` at most.
static inline int vigie_may_write(rd_kafka_t *client, const char *topic, int milliseconds) {
#if RD_KAFKA_VERSION >= 0x020300ff
    int answer = -1;
    char reason[256];
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names(&topic, 1);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_error_t *refusal = rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
    if (refusal == NULL &&
        rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, reason, sizeof reason) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_DescribeTopics(client, topics, options, queue);
        // It always answers, with a time-out error at the latest.
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, -1);
        size_t count = 0, operations = 0;
        const rd_kafka_DescribeTopics_result_t *result = event ? rd_kafka_event_DescribeTopics_result(event) : NULL;
        const rd_kafka_TopicDescription_t **described =
            result ? rd_kafka_DescribeTopics_result_topics(result, &count) : NULL;
        const rd_kafka_AclOperation_t *allowed =
            count == 1 ? rd_kafka_TopicDescription_authorized_operations(described[0], &operations) : NULL;
        // Who sees a topic may do something with it: nothing at all is no answer.
        if (allowed != NULL && operations > 0) answer = 0;
        for (size_t index = 0; allowed != NULL && index < operations; index++) {
            if (allowed[index] == RD_KAFKA_ACL_OPERATION_WRITE || allowed[index] == RD_KAFKA_ACL_OPERATION_ALL)
                answer = 1;
        }
        if (event != NULL) rd_kafka_event_destroy(event);
    }
    if (refusal != NULL) rd_kafka_error_destroy(refusal);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_TopicCollection_destroy(topics);
    return answer;
#else
    (void)client, (void)topic, (void)milliseconds;
    return -1;
#endif
}
